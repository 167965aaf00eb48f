//! How the types that travel as text are described in the document of the local API.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::id::{ClientMessageId, Digest, MeshId, Name, NodeId, Timestamp, WireId};
use crate::priority::Priority;

macro_rules! text {
    ($name:ident, $pattern:literal, $about:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($about));
                text.pattern(Some($pattern)).into()
            }
        }

        impl ToSchema for $name {}
    };
}

text!(Name, "^[a-z0-9][a-z0-9-]{0,62}$", "The name of a mesh, node, app or token.");
text!(NodeId, "^[a-z2-7]{26}$", "A node, by its id.");
text!(MeshId, "^[a-z2-7]{26}$", "A mesh, by its id.");
text!(WireId, "^[0-9a-f]{32}$", "What a broker sees of a client message id.");
text!(Digest, "^[0-9a-f]{64}$", "A SHA-256 digest.");
text!(ClientMessageId, "^[A-Za-z0-9._:-]{1,128}$", "An app's idempotency key.");

impl PartialSchema for Priority {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.into_iter().map(Self::as_str);
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        word.description(Some("How urgent a message is.")).into()
    }
}

impl ToSchema for Priority {}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .description(Some("Milliseconds since 1970."))
            .into()
    }
}

impl ToSchema for Timestamp {}
