//! How the types of this crate that travel as text are described in the document of the local API.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::api::ProblemCode;
use crate::{Address, MessageId, RegistrationId, TopicName, TopicPattern};

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

/// By hand: a derivation does not see the words that the table of codes gives.
impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|code| code.as_str());
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        code.description(Some("What is wrong, stable across versions.")).into()
    }
}

impl ToSchema for ProblemCode {}

text!(Address, "^([a-z0-9][a-z0-9-]{0,62}@)?[a-z0-9][a-z0-9-]{0,62}$", "`node` or `app@node`.");
text!(MessageId, "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "A message, as its broker calls it.");
text!(RegistrationId, "^[A-Za-z0-9._:-]{16,64}$", "A registration of an app.");
text!(TopicName, "^[^:*]+(:[^:*]+)*$", "A topic: words joined by `:`, 250 bytes at most.");
text!(TopicPattern, "^(\\*|[^:*]+(:[^:*]+)*(:\\*)?)$", "A topic, or all behind a last `*`: `task:*`.");
