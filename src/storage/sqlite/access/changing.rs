//! The changes of how people sign in, each with its entry: checked first, then written.

use super::super::reviewers;
use super::super::trouble::Trouble;
use super::super::tx::Tx;
use super::rows;
use crate::digest::Digest;
use crate::evidence::{Access, Event};
use crate::ids::PersonName;
use crate::principal::Person;
use crate::storage::{
    AccessError, Credential, Link, LinkKind, MAX_PASSKEYS, Passkey, Proof, Reviewer,
    ReviewerChange, Ruled, Session, Subject, Which,
};

/// What became of a change.
type Changed = Result<(), AccessError>;

impl Tx<'_> {
    pub(super) fn invite(
        &mut self,
        link: &Link,
        new: Option<Reviewer>,
        by: String,
    ) -> Result<Changed, Trouble> {
        if let Some(new) = new
            && let Err(error) = self.add_reviewer(new, by.clone())?
        {
            return Ok(Err(error.into()));
        }
        self.make_link(link, by)
    }

    pub(super) fn make_link(&mut self, link: &Link, by: String) -> Result<Changed, Trouble> {
        if !self.may_sign_in(&link.person)? {
            return Ok(Err(AccessError::NotListed));
        }
        rows::put_link(self.connection, link, self.now())?;
        let until = link.expires_at;
        let access = match link.kind {
            LinkKind::Invitation => Access::Invited { until },
            LinkKind::SignIn => Access::LinkMade { until },
        };
        self.note(&link.person, access, by)
    }

    pub(super) fn accept_invitation(
        &mut self,
        link: &Digest,
        credential: Credential,
        session: &Session,
    ) -> Result<Changed, Trouble> {
        let now = self.now();
        let Some(found) = rows::link(self.connection, link, now)? else {
            return Ok(Err(AccessError::NoLink));
        };
        let theirs = found.kind == LinkKind::Invitation && found.person == session.person;
        let name = session.person.name.parse::<PersonName>();
        let (true, Ok(name)) = (theirs && self.may_sign_in(&session.person)?, name) else {
            return Ok(Err(AccessError::NoLink));
        };
        if let Err(error) = self.put_credential(&name, credential)? {
            return Ok(Err(error));
        }
        rows::take_link(self.connection, link, LinkKind::Invitation, now)?;
        self.end(rows::sessions_of(self.connection, name.as_str())?, name.to_string())?;
        self.begin_session(session)
    }

    pub(super) fn open_session(
        &mut self,
        session: &Session,
        proof: Proof,
    ) -> Result<Changed, Trouble> {
        let name = session.person.name.parse::<PersonName>();
        let proven = match (proof, name) {
            (Proof::Link(link), _) => self.prove_link(&link, &session.person)?,
            (Proof::Password(hash), Ok(name)) => {
                let known = rows::credentials(self.connection, &name)?.password;
                if known == Some(hash) { Ok(()) } else { Err(AccessError::NotProven) }
            }
            (Proof::Passkey { id, counter }, Ok(name)) => {
                self.prove_passkey(&name, &id, counter)?
            }
            (Proof::Subject { subject, ruled }, Ok(name)) => {
                self.prove_subject(&name, subject, ruled)?
            }
            (Proof::Password(_) | Proof::Passkey { .. } | Proof::Subject { .. }, Err(_)) => {
                Err(AccessError::NotListed)
            }
        };
        if let Err(error) = proven {
            return Ok(Err(error));
        }
        if !self.may_sign_in(&session.person)? {
            return Ok(Err(AccessError::NotListed));
        }
        self.begin_session(session)
    }

    pub(super) fn end_sessions(&mut self, which: &Which, by: String) -> Result<(), Trouble> {
        let ending = match which {
            Which::One(digest) => rows::session(self.connection, digest)?.into_iter().collect(),
            Which::Of(name) => rows::sessions_of(self.connection, name)?,
            Which::Others(keep) => match rows::session(self.connection, keep)? {
                Some(own) => self.others(&own.person, keep)?,
                None => Vec::new(),
            },
        };
        self.end(ending, by)
    }

    pub(super) fn set_credential(
        &mut self,
        name: &PersonName,
        credential: Credential,
        keep: &Digest,
    ) -> Result<Changed, Trouble> {
        let person = Person::registered(name);
        if !self.may_sign_in(&person)? {
            return Ok(Err(AccessError::NotListed));
        }
        let ends = matches!(credential, Credential::Password(_));
        if let Err(error) = self.put_credential(name, credential)? {
            return Ok(Err(error));
        }
        if ends {
            self.end(self.others(&person, keep)?, name.to_string())?;
        }
        Ok(Ok(()))
    }

    pub(super) fn remove_passkey(
        &mut self,
        name: &PersonName,
        id: String,
        by: String,
    ) -> Result<Changed, Trouble> {
        if !rows::remove_passkey(self.connection, name, &id)? {
            return Ok(Err(AccessError::NoPasskey));
        }
        self.note(&Person::registered(name), Access::PasskeyRemoved { passkey: id }, by)
    }

    /// Whether the person is one that may have sessions: local, or in the register and valid.
    fn may_sign_in(&self, person: &Person) -> Result<bool, Trouble> {
        if person.local {
            return Ok(true);
        }
        let Ok(name) = person.name.parse() else { return Ok(false) };
        let now = self.now();
        Ok(reviewers::find(self.connection, &name)?.is_some_and(|known| known.stands(now)))
    }

    fn put_credential(
        &mut self,
        name: &PersonName,
        credential: Credential,
    ) -> Result<Changed, Trouble> {
        let access = match credential {
            Credential::Password(hash) => {
                rows::put_password(self.connection, name, hash)?;
                Access::PasswordSet
            }
            Credential::Passkey(passkey) => {
                if rows::passkey(self.connection, &passkey.id)?.is_some() {
                    return Ok(Err(AccessError::PasskeyTaken));
                }
                if rows::credentials(self.connection, name)?.passkeys.len() >= MAX_PASSKEYS {
                    return Ok(Err(AccessError::TooManyPasskeys));
                }
                rows::put_passkey(self.connection, name, &passkey)?;
                let Passkey { id, name, algorithm, key, domain, signs, .. } = passkey;
                let domain = signs.then_some(domain);
                Access::PasskeyAdded { passkey: id, name, key, algorithm, domain }
            }
        };
        self.note(&Person::registered(name), access, name.to_string())
    }

    fn prove_link(&mut self, link: &Digest, person: &Person) -> Result<Changed, Trouble> {
        let taken = rows::take_link(self.connection, link, LinkKind::SignIn, self.now())?;
        let theirs = taken.is_some_and(|link| link.person == *person);
        Ok(if theirs { Ok(()) } else { Err(AccessError::NoLink) })
    }

    /// A counter that does not count up means that two devices have the key (`WebAuthn` Level 3, 6.1.1);
    /// authenticators that do not count say 0 each time.
    fn prove_passkey(
        &mut self,
        name: &PersonName,
        id: &str,
        counter: u32,
    ) -> Result<Changed, Trouble> {
        let Some((owner, known)) = rows::passkey(self.connection, id)? else {
            return Ok(Err(AccessError::NotProven));
        };
        if owner != *name {
            return Ok(Err(AccessError::NotProven));
        }
        let counts = counter != 0 || known.counter != 0;
        if counts && counter <= known.counter {
            let access = Access::PasskeyCopied { passkey: id.to_owned() };
            self.note(&Person::registered(name), access, name.to_string())?.ok();
            return Ok(Err(AccessError::NotProven));
        }
        let used_at = Some(self.now());
        rows::put_passkey(self.connection, name, &Passkey { counter, used_at, ..known })?;
        Ok(Ok(()))
    }

    fn prove_subject(
        &mut self,
        name: &PersonName,
        subject: Subject,
        ruled: Option<Ruled>,
    ) -> Result<Changed, Trouble> {
        let known = reviewers::find(self.connection, name)?;
        let bound = rows::credentials(self.connection, name)?.subject;
        let same = |it: &Subject| it.issuer == subject.issuer && it.subject == subject.subject;
        if bound.as_ref().is_some_and(|bound| !same(bound)) {
            return Ok(Err(AccessError::OtherSubject));
        }
        let by = format!("oidc:{}", subject.issuer);
        let managed = match (known, ruled, &bound) {
            // What people decided about the person stands: a revoked one comes back by an operator alone.
            (Some(known), _, _) if !known.stands(self.now()) => {
                return Ok(Err(AccessError::NotListed));
            }
            (None, None, _) => return Ok(Err(AccessError::NotListed)),
            (None, Some(ruled), _) => {
                if let Err(error) = self.add_reviewer(self.ruled_reviewer(name, ruled), by)? {
                    return Ok(Err(error.into()));
                }
                true
            }
            (Some(_), None, Some(bound)) if bound.managed => {
                return Ok(Err(AccessError::NotListed));
            }
            (Some(known), Some(Ruled { role, groups, .. }), Some(bound)) if bound.managed => {
                if known.role != role || known.groups != groups {
                    let (role, groups) = (Some(role), Some(groups));
                    let change = ReviewerChange { role, groups, ..ReviewerChange::default() };
                    if let Err(error) = self.change_reviewer(name, change, by)? {
                        return Ok(Err(error.into()));
                    }
                }
                true
            }
            (Some(_), _, _) => false,
        };
        if bound.is_none() {
            let access = Access::SubjectBound {
                issuer: subject.issuer.clone(),
                subject: subject.subject.clone(),
            };
            rows::put_subject(self.connection, name, Subject { managed, ..subject })?;
            return self.note(&Person::registered(name), access, name.to_string());
        }
        Ok(Ok(()))
    }

    fn ruled_reviewer(&self, name: &PersonName, ruled: Ruled) -> Reviewer {
        Reviewer {
            name: name.clone(),
            role: ruled.role,
            groups: ruled.groups,
            also: Vec::new(),
            token_digest: ruled.token_digest,
            keys: Vec::new(),
            passkeys: Vec::new(),
            created_at: self.now(),
            expires_at: None,
            revoked_at: None,
        }
    }

    fn begin_session(&mut self, session: &Session) -> Result<Changed, Trouble> {
        rows::put_session(self.connection, session, self.now())?;
        let access = Access::SignedIn { with: session.with, session: session.short() };
        self.note(&session.person, access, session.person.name.clone())
    }

    fn others(&self, person: &Person, keep: &Digest) -> Result<Vec<Session>, Trouble> {
        let all = rows::sessions_of(self.connection, &person.name)?;
        Ok(all.into_iter().filter(|it| it.person == *person && it.digest != *keep).collect())
    }

    /// Ends sessions of one name, with one entry for all.
    fn end(&mut self, ending: Vec<Session>, by: String) -> Result<(), Trouble> {
        let Some(person) = ending.first().map(|session| session.person.clone()) else {
            return Ok(());
        };
        for session in &ending {
            rows::end_session(self.connection, &session.digest)?;
        }
        let sessions = ending.iter().map(Session::short).collect();
        self.note(&person, Access::SignedOut { sessions }, by).map(drop)
    }

    fn note(&mut self, person: &Person, access: Access, by: String) -> Result<Changed, Trouble> {
        self.append(Event::Access { person: person.clone(), access, by }, None)?;
        Ok(Ok(()))
    }
}
