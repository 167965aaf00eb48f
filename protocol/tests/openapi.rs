//! The document of the local API is made from the table of routes and the types, and says what they say.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use waxwing_protocol::api::{Event, InboxQuery, Problem, ProblemCode, ROUTES, SendRequest, openapi};

fn document() -> Value {
    serde_json::from_str(&openapi::document().unwrap()).unwrap()
}

#[test]
fn the_document_in_the_docs_is_made_from_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = openapi::document().unwrap();
    if std::env::var_os("WAXWING_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/openapi.json is not what the types say: WAXWING_BLESS=1 rewrites it");
}

#[test]
fn every_route_is_described_with_its_token_and_a_good_answer() {
    let document = document();
    let count: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, ROUTES.len());
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(
            operation["security"][0]["token"][0],
            route.scope.as_str(),
            "{} {}",
            route.method,
            route.path
        );
        let answers = operation["responses"].as_object().unwrap();
        assert!(
            answers.contains_key("default") && answers.keys().any(|status| status.starts_with('2')),
            "{route:?}"
        );
        assert_eq!(operation["requestBody"].is_object(), matches!(route.method, "POST" | "PUT"), "{route:?}");
        for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(
                parameters.iter().any(|known| known["name"] == part && known["in"] == "path"),
                "{route:?}"
            );
        }
    }
}

/// Every `$ref` in a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn whatever_the_document_refers_to_is_in_it_and_nothing_else() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let named: BTreeSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    let unused: Vec<_> = named.iter().filter(|name| !found.contains(name.as_str())).collect();
    assert!(unused.is_empty(), "{unused:?}");
    let missing: Vec<_> = found.iter().filter(|reference| !named.contains(**reference)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn fields_codes_and_kinds_are_named_as_they_are_in_json() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let codes: BTreeSet<&str> = schemas["ProblemCode"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    assert_eq!(codes, ProblemCode::ALL.iter().map(|code| code.as_str()).collect());
    let fields = |value: Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let described = |name: &str| fields(schemas[name]["properties"].clone());
    let problem = serde_json::to_value(Problem::new(ProblemCode::Busy)).unwrap();
    assert!(fields(problem).is_subset(&described("Problem")));
    let request = SendRequest { to: "beta".into(), body: Some(String::new()), ..SendRequest::default() };
    assert!(fields(serde_json::to_value(request).unwrap()).is_subset(&described("SendRequest")));
    assert_eq!(schemas["SendRequest"]["required"], serde_json::json!(["to"]));
    assert_eq!(schemas["SendRequest"]["additionalProperties"], false, "a misspelt field is refused");
    let asked = document["paths"]["/v1/inbox"]["get"]["parameters"].as_array().unwrap();
    let query = InboxQuery { after: Some(1), unread: true, ..InboxQuery::default() };
    for name in fields(serde_json::to_value(query).unwrap()) {
        assert!(
            asked.iter().any(|parameter| parameter["name"] == name.as_str() && parameter["in"] == "query"),
            "{name}"
        );
    }
    let stream = &document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"];
    assert!(
        stream["text/event-stream"]["schema"]["$ref"]
            .as_str()
            .unwrap()
            .ends_with(std::any::type_name::<Event>().rsplit("::").next().unwrap())
    );
}
