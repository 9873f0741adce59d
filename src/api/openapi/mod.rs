//! The description of this API (OpenAPI 3.1), made of the types that are read and written.
//!
//! The table of operations is our own: `aide` and `utoipa` would each want an attribute at every handler and
//! know nothing of who may use it, while the schemas, which are most of the document, come from schemars.

mod catalog;
mod halts;
mod operation;
mod revisions;
mod table;
mod workflows;

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{FailureBody, Viewer};
use crate::authentication::browser::CSRF_HEADER;
use crate::gateway::Gateway;
use crate::json::Object;
use operation::Operation;

/// Where the document keeps the schemas of what is written.
const SCHEMAS: &str = "/components/schemas";

/// Made once: it depends on the program alone.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

pub(super) async fn show(State(_): State<Arc<Gateway>>, _: Viewer) -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// The schemas of one document.
pub(super) struct Schemas {
    /// What is written; named once, and referred to.
    written: SchemaGenerator,
    /// What is read, each whole in its place, because it may ask for less than what is written has.
    read: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = SCHEMAS.into();
            })
        };
        let read = settings().with(|settings| settings.inline_subschemas = true);
        Self {
            written: settings().for_serialize().into_generator(),
            read: read.for_deserialize().into_generator(),
        }
    }

    /// The schema of something that the gateway writes.
    pub(super) fn written<T: JsonSchema>(&mut self) -> Schema {
        self.written.subschema_for::<T>()
    }

    /// The schema of something that the gateway reads.
    pub(super) fn read<T: JsonSchema>(&mut self) -> Schema {
        self.read.subschema_for::<T>()
    }
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Object::new();
    for operation in table::operations() {
        let Operation { path, method, .. } = &operation;
        let (path, method) = ((*path).to_owned(), (*method).to_owned());
        let described = operation.described(&mut schemas);
        let of_path = paths.entry(path).or_insert_with(|| Value::Object(Object::new()));
        if let Value::Object(of_path) = of_path {
            of_path.insert(method, described);
        }
    }
    let failure = schemas.written::<FailureBody>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "The API for people. An agent's credential opens nothing here. Over the local socket \
                the user of the operating system is the person and brings nothing. Before any route the edge \
                may answer, in plain text: 400, 408, 413, 417, 431 for how a request is sent, 403 for a Host \
                or Origin that is not the gateway's, 503 when there is no place for it.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.written.take_definitions(true),
            "responses": {
                "Failure": {
                    "description": "It was not done; the body says why.",
                    "content": { "application/json": { "schema": failure } },
                },
            },
            "securitySchemes": security_schemes(),
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of a person: `countersign reviewers add NAME`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-countersign",
            "description": "The session of a person who signed in at `/sign-in`. On loopback without TLS the \
                cookie is called `countersign_session`.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "What a session needs besides for every change: its own token, and a request that \
                a page of this gateway made.",
        },
    })
}

#[cfg(test)]
mod tests;
