//! How a person begins and ends a session, whatever they show for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use secrecy::SecretString;

use super::Settings;
use super::attempts::{Attempts, TooMany};
use super::browser::{Cookie, Site};
use super::oidc::Provider;
use super::passkeys::Ceremonies;
use super::passwords::{PasswordError, Passwords};
use super::sessions::Sessions;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::ids::PersonName;
use crate::principal::{Authentication, Person};
use crate::storage::{
    AccessError, Credential, Link, LinkKind, Proof, Reviewer, Session, Store, StoreError, Which,
};
use crate::telemetry::SignInCounts;

/// How much of what a browser calls itself is kept, in characters.
const MAX_BROWSER: usize = 200;
/// For how long a link to sign in works.
pub const LINK_FOR: Duration = Duration::from_secs(600);

/// What people sign in with, and where their sessions are.
pub struct SignIn {
    /// How long sessions last.
    pub settings: Settings,
    /// The sessions.
    pub sessions: Sessions,
    /// What compares passwords.
    pub passwords: Passwords,
    /// The OpenID provider, if there is one.
    pub provider: Option<Provider>,
    /// The challenges that passkeys are to answer.
    pub passkeys: Ceremonies,
    /// What bounds guessing.
    pub attempts: Attempts,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    counts: SignInCounts,
}

/// Who is at a browser.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Their session.
    pub session: Session,
    /// The secret in its cookie.
    pub secret: String,
}

/// Where a try to sign in comes from.
#[derive(Clone, Debug)]
pub struct From {
    /// The address, where one is known.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub browser: String,
}

impl From {
    /// The sender of a request with these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap, address: Option<IpAddr>) -> Self {
        let browser = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok());
        let browser = browser.unwrap_or_default().chars().take(MAX_BROWSER).collect();
        Self { address, browser }
    }
}

/// Why nobody was signed in. What it says is the same whether there is such a person or not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// Too many tries.
    #[error("too many tries; wait {} s and try again", .0.wait.as_secs().max(1))]
    TooMany(TooMany),
    /// What was shown is wrong, or nobody's.
    #[error("name or password is wrong")]
    Wrong,
    /// A password cannot be one, or cannot be compared now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store refuses or fails.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl std::convert::From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Access(error.into())
    }
}

impl std::convert::From<TooMany> for SignInError {
    fn from(error: TooMany) -> Self {
        Self::TooMany(error)
    }
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl SignIn {
    /// Reads the sessions that there are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        (environment, counts): (fn(&str) -> Option<String>, SignInCounts),
    ) -> Result<Self, StoreError> {
        let unready = |error: PasswordError| StoreError::Engine(error.to_string());
        let provider = settings.oidc.clone();
        let provider =
            provider.map(|it| Provider::open(it, environment, Arc::clone(&clock))).transpose();
        Ok(Self {
            settings,
            sessions: Sessions::load(store.as_ref(), clock.now()).await?,
            passwords: Passwords::new().map_err(unready)?,
            provider: provider.map_err(StoreError::Engine)?,
            passkeys: Ceremonies::new(Arc::clone(&clock)),
            attempts: Attempts::new(Arc::clone(&clock)),
            store,
            clock,
            counts,
        })
    }

    /// Who is at the browser that sent `headers`, if somebody signed in there. What they may do the register
    /// says.
    #[must_use]
    pub fn visitor(&self, headers: &HeaderMap, site: &Site) -> Option<Visitor> {
        let secret = site.cookie(headers, Cookie::Session)?;
        let idle = self.settings.sessions.idle.0;
        let session = self.sessions.find(&secret, self.clock.now(), idle)?;
        Some(Visitor { session, secret })
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn used(&self, session: &Session) -> Result<(), StoreError> {
        self.sessions.used(self.store.as_ref(), session, self.clock.now()).await
    }

    /// Opens a session for who has the password of `name`.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] alike for a wrong password and for nobody's.
    pub async fn with_password(
        &self,
        name: &str,
        password: SecretString,
        from: From,
    ) -> Result<Visitor, SignInError> {
        self.attempts.from_address(from.address)?;
        self.attempts.for_name(name)?;
        let person = name.parse::<PersonName>().ok();
        let known = match &person {
            Some(name) => self.store.credentials(name).await?.password,
            None => None,
        };
        let right = self.passwords.verify(password, known.clone()).await?;
        let (true, Some(name), Some(hash)) = (right, person, known) else {
            self.counts.count(Authentication::Password, false);
            return Err(SignInError::Wrong);
        };
        let person = Person::registered(&name);
        let opened =
            self.begin(person, Authentication::Password, from, Proof::Password(hash)).await;
        match opened {
            Ok(visitor) => {
                self.attempts.succeeded(name.as_str());
                Ok(visitor)
            }
            Err(AccessError::NotListed | AccessError::NotProven) => Err(SignInError::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// The link whose secret is `code`, if it can be used. Looking uses nothing up.
    ///
    /// # Errors
    /// [`AccessError::NoLink`] when it cannot.
    pub async fn link(
        &self,
        code: &str,
        kind: LinkKind,
        address: Option<IpAddr>,
    ) -> Result<Link, SignInError> {
        self.attempts.from_address(address)?;
        let digest = Digest::of(code.as_bytes());
        let found = self.store.link(&digest, self.clock.now()).await?;
        Ok(found.filter(|link| link.kind == kind).ok_or(AccessError::NoLink)?)
    }

    /// Opens a session for who shows a link to sign in, which is used up.
    ///
    /// # Errors
    /// When it cannot be used, or not any more.
    pub async fn with_link(&self, code: &str, from: From) -> Result<Visitor, SignInError> {
        let link = self.link(code, LinkKind::SignIn, from.address).await?;
        let proof = Proof::Link(link.digest);
        Ok(self.begin(link.person, Authentication::Link, from, proof).await?)
    }

    /// Gives the person of an invitation, which is used up, something to sign in with, and a session.
    ///
    /// # Errors
    /// When it cannot be used, or not any more, or the register refuses.
    pub async fn accept(
        &self,
        invitation: &Link,
        credential: Credential,
        from: From,
    ) -> Result<Visitor, SignInError> {
        let with = match &credential {
            Credential::Password(_) => Authentication::Password,
            Credential::Passkey(_) => Authentication::Passkey,
        };
        let visitor = self.new_visitor(invitation.person.clone(), with, from)?;
        let session = visitor.session.clone();
        self.store.accept_invitation(invitation.digest, credential, session).await?;
        self.counts.count(with, true);
        self.reload().await?;
        Ok(visitor)
    }

    /// Opens a session for `person`, who has shown `proof`.
    ///
    /// # Errors
    /// When the proof does not hold any more, or the register does not know the person.
    pub async fn begin(
        &self,
        person: Person,
        with: Authentication,
        from: From,
        proof: Proof,
    ) -> Result<Visitor, AccessError> {
        let visitor = self.new_visitor(person, with, from)?;
        let opened = self.store.open_session(visitor.session.clone(), proof).await;
        self.counts.count(with, opened.is_ok());
        opened?;
        self.reload().await?;
        Ok(visitor)
    }

    /// Counts a try that came to nothing before anybody could be named.
    pub fn failed(&self, with: Authentication) {
        self.counts.count(with, false);
    }

    /// Gives a signed-in person something to sign in with; another password ends all sessions but theirs.
    ///
    /// # Errors
    /// When the person has no place in the register, or not for it.
    pub async fn set_credential(
        &self,
        visitor: &Visitor,
        credential: Credential,
    ) -> Result<(), AccessError> {
        let name = registered(&visitor.session.person)?;
        self.store.set_credential(&name, credential, visitor.session.digest).await?;
        Ok(self.reload().await?)
    }

    /// Ends sessions.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, which: Which, by: &str) -> Result<(), StoreError> {
        self.store.end_sessions(which, by.to_owned()).await?;
        self.reload().await
    }

    /// Makes an invitation for `name`, who is added as `new` first if given. Gives the secret.
    ///
    /// # Errors
    /// When the register refuses.
    pub async fn invite(
        &self,
        name: &PersonName,
        new: Option<Reviewer>,
        expires_at: Timestamp,
        by: &str,
    ) -> Result<String, AccessError> {
        let (code, digest) = new_secret()?;
        let (kind, person) = (LinkKind::Invitation, Person::registered(name));
        let link = Link { digest, kind, person, expires_at };
        self.store.invite(link, new, by.to_owned()).await?;
        Ok(code)
    }

    /// Makes a link with which the operating-system user `person` can sign in. Gives the secret and when it
    /// ends.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sign_in_link(
        &self,
        person: &Person,
        by: &str,
    ) -> Result<(String, Timestamp), AccessError> {
        let (code, digest) = new_secret()?;
        let expires_at = self.clock.now().saturating_add(LINK_FOR).unwrap_or(Timestamp::MAX);
        let link = Link { digest, kind: LinkKind::SignIn, person: person.clone(), expires_at };
        self.store.make_link(link, by.to_owned()).await?;
        Ok((code, expires_at))
    }

    /// Reads the sessions anew, after a change of the register ended some.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reload(&self) -> Result<(), StoreError> {
        self.sessions.reload(self.store.as_ref(), self.clock.now()).await
    }

    /// A session with a secret that nobody has seen before, so that none that was put into a browser beforehand
    /// becomes anybody's.
    fn new_visitor(
        &self,
        person: Person,
        with: Authentication,
        from: From,
    ) -> Result<Visitor, StoreError> {
        let (secret, digest) = new_secret()?;
        let now = self.clock.now();
        let lifetime = self.settings.sessions.lifetime.0;
        let session = Session {
            digest,
            person,
            with,
            browser: from.browser,
            created_at: now,
            expires_at: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
            seen_at: now,
        };
        Ok(Visitor { session, secret })
    }
}

/// The person's name in the register; a local person has none there to keep anything for.
///
/// # Errors
/// [`AccessError::NotListed`] when there is none.
pub fn registered(person: &Person) -> Result<PersonName, AccessError> {
    let name = person.name.parse().ok().filter(|_| !person.local);
    name.ok_or(AccessError::NotListed)
}

/// A new secret (256 random bits, as 64 hexadecimal digits) and the digest that is stored of it.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_secret() -> Result<(String, Digest), StoreError> {
    super::random_token("")
}
