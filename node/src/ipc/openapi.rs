//! This API, described.

use axum::http::header;
use axum::response::IntoResponse;

/// Made from the types; a test of the protocol compares them.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// `GET /v1/openapi.json`
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use waxwing_protocol::api::ROUTES;

    use super::*;

    #[test]
    fn the_document_that_is_served_has_exactly_the_routes_of_the_node() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: BTreeSet<(String, &str)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.as_str()))
            })
            .collect();
        let served = ROUTES.iter().map(|route| (route.method.to_owned(), route.path)).collect();
        assert_eq!(described, served);
    }
}
