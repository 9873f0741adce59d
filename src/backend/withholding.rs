//! Keeps what a server says of itself from agents where it repeats a secret the gateway gave it.

use serde_json::{Value, json};

use super::secrets::Redactor;
use crate::catalog::{Definition, Described, Offered};

/// What `server` offers without the items that carry a secret, in a text, a default or an example.
pub(super) fn without_secrets(server: &str, mut offered: Offered, secrets: &Redactor) -> Offered {
    let withheld = |text: &mut Value| {
        let found = secrets.redact_json(text);
        if found {
            tracing::error!(%server, "a definition that holds a secret of its backend is not offered");
        }
        found
    };
    offered.tools.retain(|tool| !withheld(&mut everything(tool)));
    let lists = [&mut offered.resources, &mut offered.templates, &mut offered.prompts];
    for items in lists.into_iter().flatten() {
        items.retain(|item: &Described| !withheld(&mut json!([item.key, item.entry])));
    }
    offered
}

fn everything(tool: &Definition) -> Value {
    json!([
        tool.name,
        tool.title,
        tool.description,
        tool.input_schema,
        tool.output_schema,
        tool.annotations,
    ])
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn d8_a_definition_with_a_secret_of_its_backend_is_not_offered() {
        let secret = ("KEY".to_owned(), SecretString::from("s3cr3t-c4n4ry"));
        let secrets = Redactor::new(&[secret]).unwrap();
        let tool = |schema: Value, description: &str| {
            let entry = json!({"name": "t", "description": description, "inputSchema": schema});
            Definition::read(entry.as_object().unwrap()).unwrap()
        };
        let with = |key: &str| json!({"properties": {"a": {key: ["x s3cr3t-c4n4ry"]}}});
        for told in [
            tool(with("examples"), ""),
            tool(with("default"), ""),
            tool(with("enum"), ""),
            tool(json!({"s3cr3t-c4n4ry": 1}), ""),
            tool(json!({"$comment": "czNjcjN0LWM0bjRyeQ=="}), ""),
            tool(json!({}), "use s3cr3t-c4n4ry"),
        ] {
            let fine = tool(json!({"properties": {"a": {"default": "x"}}}), "fine");
            let offered = without_secrets("s", vec![told, fine.clone()].into(), &secrets);
            assert_eq!(offered.tools, [fine]);
        }
        let entry = json!({"description": "s3cr3t-c4n4ry"}).as_object().unwrap().clone();
        let prompt = Described { key: "p".into(), entry };
        let offered = Offered { prompts: Ok(vec![prompt]), ..Offered::from(Vec::new()) };
        assert_eq!(without_secrets("s", offered, &secrets).prompts, Ok(Vec::new()));
    }
}
