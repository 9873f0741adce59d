//! `countersign reviewers`: the people who may read, decide and operate, besides those of the gateway's machine.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Failed;
use super::agents::seconds;
use super::approvals::percent;
use super::output::{self, Form, second, table};
use super::way::{Remote, Way};
use crate::api::{
    Invitation, InvitationWanted, KeyGiven, LinkMade, NewPersonToken, NewReviewer, Renewal,
    ReviewerEdit, ReviewerView,
};
use crate::config::Flags;
use crate::ids::PersonName;
use crate::principal::Role;

/// The longest file of a public key, in bytes.
const MAX_KEY_FILE: u64 = 16 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a person and print the token, which is shown this once
    Add {
        /// The name
        name: PersonName,
        /// What the person may do: viewer (read), reviewer (also decide) or operator (also add people)
        #[arg(long, default_value = "reviewer")]
        role: Role,
        /// A group, which rules name as `group:GROUP`; may be given more than once
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Another name of the same human, such as the user of the gateway's machine
        #[arg(long, value_name = "NAME")]
        also: Vec<String>,
        /// When it all ends, like `90d` or `12h`; never, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// Print a link with which a person sets a passkey or a password, once; who is new is added
    Invite {
        /// The name
        name: PersonName,
        /// What a new person may do: viewer, reviewer (as which they are added otherwise) or operator
        #[arg(long)]
        role: Option<Role>,
        /// A group of a new person; may be given more than once
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Another name of the same human, for a new person
        #[arg(long, value_name = "NAME")]
        also: Vec<String>,
        /// When a new person's record ends, like `90d`; never, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
        /// For how long the link works, like `12h`; three days, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        valid: Option<u64>,
    },
    /// Print a link with which you, on the gateway's machine, sign in at a browser, once
    SignInLink,
    /// End all sessions of a person
    SignOut {
        /// The name
        name: String,
    },
    /// List people
    List(Form),
    /// Change what a person may do
    Change {
        /// The name
        name: PersonName,
        /// Another role
        #[arg(long)]
        role: Option<Role>,
        /// A group, in place of all before; may be given more than once
        #[arg(long = "group", value_name = "GROUP", conflicts_with = "no_groups")]
        groups: Vec<String>,
        /// No group any more
        #[arg(long)]
        no_groups: bool,
        /// Another name of the same human, in place of all before
        #[arg(long, value_name = "NAME", conflicts_with = "no_also")]
        also: Vec<String>,
        /// No other name any more
        #[arg(long)]
        no_also: bool,
    },
    /// End a person's token, sessions, credentials and role
    Revoke {
        /// The name
        name: PersonName,
    },
    /// Print a new token; the old one ends
    Rotate {
        /// The name
        name: PersonName,
        /// When it all ends, like `90d`; as before, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// Register and remove SSH keys that sign a person's verdicts
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Register a public key
    Add {
        /// The person
        name: PersonName,
        /// The file of the public key, like `~/.ssh/id_ed25519.pub`
        file: PathBuf,
    },
    /// Remove a public key
    Remove {
        /// The person
        name: PersonName,
        /// The key's fingerprint, `SHA256:…`
        fingerprint: String,
    },
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = done(&way, command).await;
    way.leave().await;
    done
}

async fn done(way: &Way, command: Command) -> Result<(), Failed> {
    match command {
        Command::Add { name, role, groups, also, expires } => {
            let new = NewReviewer { name, role, groups, also, expires_in: expires };
            let added: NewPersonToken = way.post("/api/v1/reviewers", &new).await?;
            output::print(&added.token)
        }
        Command::Invite { name, role, groups, also, expires, valid } => {
            let wanted =
                InvitationWanted { role, groups, also, expires_in: expires, valid_for: valid };
            let path = format!("{}/invitation", of(&name));
            let invitation: Invitation = way.post(&path, &wanted).await?;
            let until = second(invitation.expires_at);
            eprintln!("works once, until {until}; hand it over where nobody else reads it");
            output::print(&invitation.url)
        }
        Command::SignInLink => {
            let none = serde_json::json!({});
            let made: LinkMade = way.post("/api/v1/sign-in-link", &none).await?;
            eprintln!("works once, until {}", second(made.expires_at));
            output::print(&made.url)
        }
        Command::SignOut { name } => {
            way.delete(&format!("/api/v1/reviewers/{}/sessions", percent(&name))).await
        }
        Command::List(form) => list(way, form).await,
        Command::Change { name, role, groups, no_groups, also, no_also } => {
            let all = |names: Vec<String>, none: bool| (none || !names.is_empty()).then_some(names);
            let edit =
                ReviewerEdit { role, groups: all(groups, no_groups), also: all(also, no_also) };
            if edit.role.is_none() && edit.groups.is_none() && edit.also.is_none() {
                return Err(Failed::new(2, "say what to change: `--role`, `--group` or `--also`"));
            }
            way.patch::<ReviewerView>(&of(&name), &edit).await.map(drop)
        }
        Command::Revoke { name } => way.delete(&of(&name)).await,
        Command::Rotate { name, expires } => {
            let renewal = Renewal { expires_in: expires };
            let path = format!("{}/token", of(&name));
            let renewed: NewPersonToken = way.post(&path, &renewal).await?;
            output::print(&renewed.token)
        }
        Command::Key(Key::Add { name, file }) => {
            let given = KeyGiven { public: public_key(&file)? };
            way.post::<ReviewerView>(&format!("{}/keys", of(&name)), &given).await.map(drop)
        }
        Command::Key(Key::Remove { name, fingerprint }) => {
            way.delete(&format!("{}/keys/{}", of(&name), percent(&fingerprint))).await
        }
    }
}

fn of(name: &PersonName) -> String {
    format!("/api/v1/reviewers/{}", percent(name.as_str()))
}

fn public_key(file: &Path) -> Result<String, Failed> {
    let mut text = String::new();
    let opened = File::open(file);
    opened
        .and_then(|opened| opened.take(MAX_KEY_FILE).read_to_string(&mut text))
        .map_err(|error| Failed::new(2, format!("{}: {error}", file.display())))?;
    // Nothing of a private key leaves this machine, whoever mistook it for a public one.
    if text.contains("PRIVATE KEY") {
        let name = file.display();
        return Err(Failed::new(
            2,
            format!("{name} is a private key; give the `.pub` file beside it"),
        ));
    }
    Ok(text)
}

async fn list(way: &Way, form: Form) -> Result<(), Failed> {
    let people: Vec<ReviewerView> = way.get("/api/v1/reviewers").await?;
    form.print(&people, |people| {
        let rows = people.iter().map(|person| {
            let state = match (person.revoked_at, person.expires_at) {
                (Some(at), _) => format!("revoked {}", second(at)),
                (None, Some(at)) => format!("until {}", second(at)),
                (None, None) => "valid".to_owned(),
            };
            let keys: Vec<&str> = person.keys.iter().map(|key| key.fingerprint.as_str()).collect();
            vec![
                person.name.to_string(),
                person.role.as_str().to_owned(),
                person.groups.join(", "),
                person.also.join(", "),
                keys.join(", "),
                state,
            ]
        });
        table(&["NAME", "ROLE", "GROUPS", "ALSO", "KEYS", "TOKEN"], rows)
    })
}
