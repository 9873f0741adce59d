//! One operation: what it takes, what it gives, who may use it.

use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::Schemas;
use crate::json::Object;
use crate::principal::Role;

/// Makes the schema of one type.
type Of = fn(&mut Schemas) -> Schema;

/// What an operation gives when it is done.
enum Gives {
    Json(Of),
    Nothing,
    Text { kind: &'static str, what: &'static str },
}

/// One route with one method.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    role: Role,
    query: Option<Of>,
    headers: Vec<(&'static str, &'static str, Value)>,
    body: Option<Of>,
    gives: Gives,
    /// Further ways to fail, each with what it means.
    fails: Vec<(u16, &'static str)>,
}

/// An operation that only reads, for everybody among the people.
pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "get",
        path,
        id,
        summary,
        role: Role::Viewer,
        query: None,
        headers: Vec::new(),
        body: None,
        gives: Gives::Nothing,
        fails: Vec::new(),
    }
}

/// An operation that changes something, for those of `role`.
pub(super) fn change(
    method: &'static str,
    path: &'static str,
    role: Role,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation { method, role, ..get(path, id, summary) }
}

impl Operation {
    /// Its query parameters are the members of `T`.
    pub(super) fn asks<T: JsonSchema>(self) -> Self {
        Self { query: Some(Schemas::read::<T>), ..self }
    }

    /// It heeds a header, which need not be there.
    pub(super) fn heeds(mut self, name: &'static str, what: &'static str, schema: Value) -> Self {
        self.headers.push((name, what, schema));
        self
    }

    /// Its body is a `T`.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(Schemas::read::<T>), ..self }
    }

    /// It gives a `T`.
    pub(super) fn gives<T: JsonSchema>(self) -> Self {
        Self { gives: Gives::Json(Schemas::written::<T>), ..self }
    }

    /// It gives a text that is not JSON.
    pub(super) fn gives_text(self, kind: &'static str, what: &'static str) -> Self {
        Self { gives: Gives::Text { kind, what }, ..self }
    }

    /// It may fail in this way too.
    pub(super) fn fails(mut self, status: u16, why: &'static str) -> Self {
        self.fails.push((status, why));
        self
    }

    /// The operation as the document has it.
    pub(super) fn described(&self, schemas: &mut Schemas) -> Value {
        let mut described = Object::new();
        let role = self.role.as_str();
        described.insert("operationId".to_owned(), self.id.into());
        described.insert("summary".to_owned(), self.summary.into());
        let who = format!("For people of the role {role} or above.");
        described.insert("description".to_owned(), who.into());
        described.insert("security".to_owned(), self.security());
        let parameters = self.parameters(schemas);
        if !parameters.is_empty() {
            described.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = self.body {
            let content = json!({ "application/json": { "schema": body(schemas) } });
            let body = json!({ "required": true, "content": content });
            described.insert("requestBody".to_owned(), body);
        }
        described.insert("responses".to_owned(), self.responses(schemas));
        Value::Object(described)
    }

    /// A session needs its second token for everything but reading.
    fn security(&self) -> Value {
        if self.method == "get" {
            return json!([{ "token": [] }, { "session": [] }]);
        }
        json!([{ "token": [] }, { "session": [], "csrf": [] }])
    }

    fn parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut parameters: Vec<Value> = in_path(self.path)
            .map(|name| {
                // No segment is empty, and a dot or two alone are taken away on the way here.
                let schema = json!({ "type": "string", "minLength": 1 });
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        for (name, what, schema) in &self.headers {
            parameters.push(
                json!({ "name": name, "in": "header", "description": what, "schema": schema }),
            );
        }
        let Some(query) = self.query else { return parameters };
        let schema = query(schemas).to_value();
        let members = schema.get("properties").and_then(Value::as_object);
        for (name, member) in members.into_iter().flatten() {
            let mut member = without_null(member.clone());
            let what = member.as_object_mut().and_then(|member| member.remove("description"));
            let what = what.unwrap_or_else(|| "".into());
            parameters.push(
                json!({ "name": name, "in": "query", "description": what, "schema": member }),
            );
        }
        parameters
    }

    fn responses(&self, schemas: &mut Schemas) -> Value {
        let (status, done) = match &self.gives {
            Gives::Json(of) => {
                let content = json!({ "application/json": { "schema": of(schemas) } });
                ("200", json!({ "description": "Done.", "content": content }))
            }
            Gives::Nothing => ("204", json!({ "description": "Done." })),
            Gives::Text { kind, what } => {
                let content = json!({ *kind: { "schema": { "type": "string" } } });
                ("200", json!({ "description": what, "content": content }))
            }
        };
        let mut responses = Object::new();
        responses.insert(status.to_owned(), done);
        let mut failures = vec![401, 403, 503];
        if self.query.is_some() || self.body.is_some() || self.path.contains('{') {
            failures.push(400);
        }
        if self.body.is_some() {
            failures.extend([413, 415, 422]);
        }
        for status in failures {
            let failure = json!({ "$ref": "#/components/responses/Failure" });
            responses.insert(status.to_string(), failure);
        }
        for (status, why) in &self.fails {
            let schema = json!({ "$ref": "#/components/schemas/FailureBody" });
            let content = json!({ "application/json": { "schema": schema } });
            let failure = json!({ "description": why, "content": content });
            responses.insert(status.to_string(), failure);
        }
        responses.sort_keys();
        Value::Object(responses)
    }
}

/// The names of the parts of a path that are chosen.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The schema without `null`, which a query cannot say.
fn without_null(mut schema: Value) -> Value {
    let is_null = |of: &Value| of == "null" || of.get("type").is_some_and(|kind| kind == "null");
    if let Some(kind) = schema.get_mut("type")
        && let Some(kinds) = kind.as_array_mut()
    {
        kinds.retain(|kind| !is_null(kind));
        if let [only] = kinds.as_slice() {
            *kind = only.clone();
        }
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    let Some(any) = schema.get_mut("anyOf").and_then(Value::as_array_mut) else { return schema };
    any.retain(|of| !is_null(of));
    if let [only] = any.as_slice() {
        let only = only.clone();
        let what = schema.get("description").cloned();
        schema = only;
        if let (Some(what), Some(members)) = (what, schema.as_object_mut()) {
            members.insert("description".to_owned(), what);
        }
    }
    schema
}
