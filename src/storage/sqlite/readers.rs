//! A few connections that only read, each used by one blocking thread at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use super::trouble::Trouble;
use crate::storage::StoreError;

/// How many reads that serve calls and people run at once.
pub(super) const READERS: usize = 4;

/// How long a read waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// The readers of one database.
pub(super) struct Readers {
    dir: PathBuf,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Readers of which `many` read at once.
    pub(super) fn new(dir: PathBuf, many: usize) -> Self {
        Self { dir, turns: Arc::new(Semaphore::new(many)), idle: Arc::default() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `read` on a connection, off the threads that serve.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| StoreError::Engine(format!("no turn to read within {TURN:?}")))?
            .map_err(|_| StoreError::Engine("the store is closed".to_owned()))?;
        let (dir, idle) = (self.dir.clone(), Arc::clone(&self.idle));
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match connection {
                Some(connection) => connection,
                None => schema::open_reader(&dir)?,
            };
            let result = read(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        let result = reading.await.map_err(|error| StoreError::Engine(error.to_string()))?;
        Ok(result?)
    }
}
