//! How people sign in, in the database: the store's methods for it.

mod changing;
mod rows;

use async_trait::async_trait;
use jiff::Timestamp;

use super::SqliteStore;
use super::trouble::{Trouble, plain};
use super::tx::Tx;
use crate::digest::Digest;
use crate::ids::PersonName;
use crate::storage::{
    AccessError, AccessStore, Credential, Credentials, Link, Passkey, Proof, Reviewer, Session,
    StoreError, Which,
};

pub(super) use rows::{credentials, forget, passkeys};

impl SqliteStore {
    /// Makes one change of how people sign in, durably.
    async fn change_access(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut Tx<'_>) -> Result<Result<(), AccessError>, Trouble> + Send + 'static,
    ) -> Result<(), AccessError> {
        self.durably(method, work).await.map_err(plain)?
    }
}

#[async_trait]
impl AccessStore for SqliteStore {
    async fn invite(
        &self,
        link: Link,
        new: Option<Reviewer>,
        by: String,
    ) -> Result<(), AccessError> {
        self.change_access("invite", move |tx| tx.invite(&link, new, by)).await
    }

    async fn make_link(&self, link: Link, by: String) -> Result<(), AccessError> {
        self.change_access("make_link", move |tx| tx.make_link(&link, by)).await
    }

    async fn link(&self, digest: &Digest, now: Timestamp) -> Result<Option<Link>, StoreError> {
        let digest = *digest;
        self.readers.read(move |connection| rows::link(connection, &digest, now)).await
    }

    async fn accept_invitation(
        &self,
        link: Digest,
        credential: Credential,
        session: Session,
    ) -> Result<(), AccessError> {
        let work = move |tx: &mut Tx<'_>| tx.accept_invitation(&link, credential, &session);
        self.change_access("accept_invitation", work).await
    }

    async fn open_session(&self, session: Session, proof: Proof) -> Result<(), AccessError> {
        self.change_access("open_session", move |tx| tx.open_session(&session, proof)).await
    }

    async fn touch_session(&self, digest: &Digest, at: Timestamp) -> Result<(), StoreError> {
        let digest = *digest;
        let work = move |tx: &mut Tx<'_>| rows::touch_session(tx.connection, &digest, at);
        self.durably("touch_session", work).await.map_err(plain)
    }

    async fn end_sessions(&self, which: Which, by: String) -> Result<(), StoreError> {
        let work = move |tx: &mut Tx<'_>| tx.end_sessions(&which, by);
        self.durably("end_sessions", work).await.map_err(plain)
    }

    async fn sessions(&self, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.readers.read(move |connection| rows::sessions(connection, now)).await
    }

    async fn set_credential(
        &self,
        person: &PersonName,
        credential: Credential,
        keep: Digest,
    ) -> Result<(), AccessError> {
        let name = person.clone();
        let work = move |tx: &mut Tx<'_>| tx.set_credential(&name, credential, &keep);
        self.change_access("set_credential", work).await
    }

    async fn remove_passkey(
        &self,
        person: &PersonName,
        id: &str,
        by: String,
    ) -> Result<(), AccessError> {
        let (name, id) = (person.clone(), id.to_owned());
        self.change_access("remove_passkey", move |tx| tx.remove_passkey(&name, id, by)).await
    }

    async fn credentials(&self, person: &PersonName) -> Result<Credentials, StoreError> {
        let name = person.clone();
        self.readers.read(move |connection| rows::credentials(connection, &name)).await
    }

    async fn passkey(&self, id: &str) -> Result<Option<(PersonName, Passkey)>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |connection| rows::passkey(connection, &id)).await
    }
}
