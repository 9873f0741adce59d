//! Who of the people may use a route: a reader, a person who decides, an operator.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use http::StatusCode;
use http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::principal::{Authentication, Capacity, Person, Role};

/// Anybody among the people: for routes that only read.
pub struct Viewer(pub Person);

/// A person whose verdicts count. Whether they count for a certain hold, its rules say.
pub struct Reviewer(pub Person);

/// An operator: for routes that change who may do what.
pub struct Operator(pub Person);

impl FromRequestParts<Arc<Gateway>> for Viewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Gateway>) -> Result<Self, Failure> {
        who(parts, state).map(|(person, _)| Self(person))
    }
}

impl FromRequestParts<Arc<Gateway>> for Reviewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Gateway>) -> Result<Self, Failure> {
        let (person, standing) = who(parts, state)?;
        if standing.decides {
            return Ok(Self(person));
        }
        if standing.role < Role::Reviewer {
            return Err(lacking(&person, standing.role, Role::Reviewer));
        }
        let told = format!("`{}` was revoked in the register and decides no more", person.name);
        Err(Failure::new(StatusCode::FORBIDDEN, told))
    }
}

impl FromRequestParts<Arc<Gateway>> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Gateway>) -> Result<Self, Failure> {
        let (person, standing) = who(parts, state)?;
        if standing.role < Role::Operator {
            return Err(lacking(&person, standing.role, Role::Operator));
        }
        Ok(Self(person))
    }
}

/// How the person of a request showed who they are.
pub(super) struct Shown(pub(super) Option<Authentication>);

impl FromRequestParts<Arc<Gateway>> for Shown {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Failure> {
        Ok(Self(parts.extensions.get::<Authentication>().copied()))
    }
}

/// Whom the gateway takes a person for, and what that person may do now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// The name that verdicts of this person carry.
    pub name: String,
    /// Whether the person came over the local socket.
    pub local: bool,
    /// The role.
    pub role: Role,
    /// The groups.
    pub groups: Vec<String>,
    /// The agent as which the page calls for an operator who tries a tool; absent where the name is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries_as: Option<AgentName>,
    /// Where agents reach this gateway over HTTP; absent where it does not listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<String>,
}

pub(super) async fn whoami(
    State(gateway): State<Arc<Gateway>>,
    Viewer(person): Viewer,
) -> Result<Json<WhoAmI>, Failure> {
    let capacity = gateway.people.capacity(&person, gateway.clock.now()).ok_or_else(nobody)?;
    let tries_as = gateway.agents.of_page(&person).map(|it| it.agent().clone());
    let tries_as = tries_as.filter(|_| capacity.role >= Role::Operator);
    let Person { name, local } = person;
    let listens = gateway.config.listens;
    let mcp = super::site(&gateway.config).filter(|_| listens).map(|site| format!("{site}/mcp"));
    let (role, groups) = (capacity.role, capacity.groups);
    Ok(Json(WhoAmI { name, local, role, groups, tries_as, mcp }))
}

/// The person whom the edge let in, and what they may do now. A request without one is refused, whatever
/// agent's credential it carries.
fn who(parts: &Parts, gateway: &Gateway) -> Result<(Person, Capacity), Failure> {
    let person = parts.extensions.get::<Person>().cloned();
    let known = person.and_then(|person| {
        let standing = gateway.people.capacity(&person, gateway.clock.now())?;
        Some((person, standing))
    });
    known.ok_or_else(nobody)
}

fn nobody() -> Failure {
    let told = "this needs a person: a session, a valid token from `countersign reviewers add NAME`, or the \
                `countersign` command on the gateway's machine; an agent's credential decides nothing";
    Failure::new(StatusCode::UNAUTHORIZED, told)
}

fn lacking(person: &Person, has: Role, needs: Role) -> Failure {
    let (name, has, needs) = (&person.name, has.as_str(), needs.as_str());
    let told = format!("this needs the role {needs}; `{name}` has the role {has}");
    Failure::new(StatusCode::FORBIDDEN, told)
}
