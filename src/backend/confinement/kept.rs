//! The confinements of one backend, made once: where a grant leads is looked up when the gateway starts, and
//! not when an agent could have put a link in its way.

use std::path::Path;
use std::sync::Arc;

use super::{Confinement, Places, home};
use crate::backend::BackendError;
use crate::catalog::Sandbox;
use crate::catalog::manifest::BackendSpec;

/// How each program of a backend is confined.
#[derive(Debug)]
pub struct Kept {
    confined: Vec<(Sandbox, Arc<Confinement>)>,
    /// Whether the manifest says where home is.
    has_home: bool,
}

impl Kept {
    /// Those of `backend`, whose tools have these `sandboxes`, with temporary files below `data`.
    pub fn new<'a>(
        backend: &BackendSpec,
        sandboxes: impl Iterator<Item = &'a Sandbox>,
        data: &Path,
    ) -> Self {
        let mut confined: Vec<(Sandbox, Arc<Confinement>)> = Vec::new();
        for sandbox in sandboxes {
            let Some(grants) = sandbox.grants() else { continue };
            if confined.iter().all(|(known, _)| known != sandbox) {
                let places = Places::of(grants, backend);
                let made = Confinement::new(grants.clone(), places, home(data));
                confined.push((sandbox.clone(), Arc::new(made)));
            }
        }
        let has_home =
            backend.environment.contains_key("HOME") || backend.secrets.contains_key("HOME");
        Self { confined, has_home }
    }

    /// How a program with this sandbox is confined; `None` if it is not.
    ///
    /// # Errors
    /// When it has to be, and was not prepared.
    pub fn of(&self, sandbox: &Sandbox) -> Result<Option<Arc<Confinement>>, BackendError> {
        if sandbox.grants().is_none() {
            return Ok(None);
        }
        let known = self.confined.iter().find(|(known, _)| known == sandbox);
        let unknown = || BackendError::Unavailable("its confinement is not prepared".to_owned());
        known.map(|(_, confinement)| Some(Arc::clone(confinement))).ok_or_else(unknown)
    }

    /// Takes the home of the gateway's user from the environment of a confined program, which has one of
    /// its own.
    pub fn without_home<T>(&self, environment: &mut Vec<(String, T)>) {
        if !self.has_home {
            environment.retain(|(name, _)| name != "HOME");
        }
    }
}
