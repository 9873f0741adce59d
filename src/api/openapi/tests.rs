use super::*;

#[test]
fn every_reference_leads_somewhere_and_no_name_is_given_twice() {
    let document = document();
    let text = document.to_string();
    let mut ids = Vec::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let mut references = 0;
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        references += 1;
    }
    assert!(references > 50, "{text}");
}

#[test]
fn a_query_says_no_null_and_a_body_refuses_what_it_does_not_know() {
    let document = document();
    let parameters = document.pointer("/paths/~1api~1v1~1calls/get/parameters").unwrap();
    let named = |name: &str| {
        let all = parameters.as_array().unwrap();
        all.iter().find(|it| it["name"] == name).unwrap()["schema"].clone()
    };
    assert_eq!(named("limit")["type"], "integer");
    assert_eq!(named("limit")["maximum"], 200);
    assert!(!parameters.to_string().contains("null"), "{parameters}");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            let Some(body) = operation.pointer("/requestBody/content/application~1json/schema")
            else {
                continue;
            };
            let strict =
                body["additionalProperties"] == false || body["unevaluatedProperties"] == false;
            assert!(strict, "{path}: {body}");
        }
    }
}
