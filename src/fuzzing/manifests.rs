//! Manifests as operators write them, with what a server offers for them and a call of each of their tools.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{object, parts};
use crate::catalog::context::UriTemplate;
use crate::catalog::template::{MAX_ARGV_BYTES, Template};
use crate::catalog::{
    Binding, Catalog, Definition, Described, Environment, Manifests, Offered, Remote, Tool,
};
use crate::json::Object;
use crate::source::{Problems, SourceFile};

/// The first text is a manifest, the second the arguments of a call, the third what its server lists. Loading
/// answers with problems, each in words and at a place of the file, or with a catalog; each of its tools then takes the
/// arguments or tells what is wrong, and a template that takes them gives an argument vector within its limits.
pub fn manifests(data: &[u8]) {
    if data.len() > super::MAX_INPUT_BYTES {
        return;
    }
    let mut texts = parts(data);
    let Some(text) = texts.next() else { return };
    let arguments = texts.next().and_then(object).unwrap_or_default();
    let listed = texts.next().and_then(object).unwrap_or_default();
    let file = SourceFile { name: "manifest.yaml".to_owned(), text: text.into() };
    let manifests = match Manifests::read(vec![file]) {
        Ok(manifests) => manifests,
        Err(problems) => return told(&problems, text),
    };
    let offered = offered(&listed);
    let learned = |name: &str| (name.to_owned(), Ok(offered.clone()));
    let learned = manifests.backends().map(|backend| learned(&backend.name)).collect();
    for learned in [HashMap::new(), learned] {
        match catalog(&manifests, &learned) {
            Ok(catalog) => called(&catalog, &arguments),
            Err(problems) => told(&problems, text),
        }
    }
}

/// The catalog where every program exists.
pub(super) fn catalog(
    manifests: &Manifests,
    learned: &HashMap<String, Result<Offered, String>>,
) -> Result<Catalog, Problems> {
    manifests.catalog(&Environment {
        find_program: &|name| Some(PathBuf::from(name)),
        missing_secret: &|_| None,
        unconfinable: &|_, _| None,
        learned,
    })
}

/// Asserts that problems say where and what.
pub(super) fn told(problems: &Problems, text: &str) {
    assert!(!problems.all().is_empty(), "refused without a problem");
    let lines = text.matches('\n').count() + 1;
    for problem in problems.all() {
        assert!(!problem.message().is_empty(), "a problem without words");
        let location = problem.location();
        let mut numbers = location.rsplit(':').map_while(|it| it.parse::<usize>().ok());
        let (column, line) = (numbers.next().expect("a column"), numbers.next().expect("a line"));
        assert!((1..=lines).contains(&line) && column >= 1, "{location} of {lines} lines");
    }
    assert!(!problems.to_string().is_empty(), "a report without words");
}

fn offered(listed: &Object) -> Offered {
    let entries = |key: &str| -> Vec<Object> {
        let all = listed.get(key).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_object).cloned().collect()
    };
    let described = |member: &str, key: &str| {
        entries(member).into_iter().filter_map(|entry| Described::read(key, entry)).collect()
    };
    Offered {
        tools: entries("tools").iter().filter_map(Definition::read).collect(),
        resources: Ok(described("resources", "uri")),
        templates: Ok(described("resourceTemplates", "uriTemplate")),
        prompts: Ok(described("prompts", "name")),
        quarantined: Vec::new(),
    }
}

/// Calls every tool with `arguments`, up to where a backend would run it.
pub(crate) fn called(catalog: &Catalog, arguments: &Object) {
    for tool in catalog.tools() {
        assert!(catalog.tool(tool.name()).is_some_and(|it| Arc::ptr_eq(it, tool)));
        for tool in [Some(tool), tool.completion()].into_iter().flatten() {
            call(catalog, tool, arguments);
        }
    }
    for uri in arguments.values().filter_map(Value::as_str) {
        if let Some((name, _)) = catalog.resource(uri) {
            assert!(catalog.tool(&name).is_some(), "a resource without an item: {name}");
        }
    }
}

fn call(catalog: &Catalog, tool: &Arc<Tool>, arguments: &Object) {
    let checked = match tool.check(arguments.clone()) {
        Ok(checked) => checked,
        Err(faults) => return assert!(!faults.is_empty(), "refused without a fault"),
    };
    assert_eq!(checked.arguments(), arguments, "what was checked is what was asked");
    match tool.binding() {
        Binding::Command { template, .. } => rendered(template, arguments),
        Binding::Mcp(Remote::Resource(template) | Remote::TemplateCompletion(template)) => {
            expanded(catalog, template, arguments);
        }
        Binding::Mcp(Remote::Tool { from } | Remote::Prompt { from })
        | Binding::Mcp(Remote::PromptCompletion { from }) => assert!(!from.is_empty()),
    }
}

fn rendered(template: &Template, arguments: &Object) {
    let Ok(rendered) = template.render(arguments) else { return };
    assert_eq!(template.render(arguments).as_ref(), Ok(&rendered), "rendered twice");
    let bytes: usize = rendered.argv.iter().map(|element| element.len() + 1).sum();
    assert!(bytes <= MAX_ARGV_BYTES, "{bytes} bytes of arguments");
    assert!(!rendered.argv.iter().any(|element| element.contains('\0')), "NUL in an argument");
}

fn expanded(catalog: &Catalog, template: &UriTemplate, arguments: &Object) {
    let Ok(uri) = template.expand(arguments) else { return };
    assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri:?}");
    let values = template.values(&uri).expect("what is expanded can be read back");
    for name in template.variables() {
        assert_eq!(values.get(name), arguments.get(name), "the value of {name} in {uri}");
    }
    assert!(catalog.resource(&uri).is_some(), "no item for {uri}");
}
