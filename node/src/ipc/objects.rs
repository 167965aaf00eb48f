//! Where an object is meant, an object is wanted: what is derived to read one also takes a list, as its fields in their order,
//! and nobody who posts a list means that. Whatever is nested in a body is read as the body is.

use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Reads JSON, all of it.
pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Strict(&mut reader))?;
    reader.end()?;
    Ok(value)
}

/// Has lists refused where something derived expects an object, in a reader, a visitor, and what these hand on.
struct Strict<T>(T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Strict(visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Strict(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Strict(visitor))
    }

    // No body has an enum with anything in it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.0.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_str(value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.0.visit_borrowed_str(value)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(reader))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, reader: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(reader))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(reader))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use waxwing_protocol::api::{AckRequest, BatchRequest, Registration, ReplyRequest, SendRequest};

    use super::*;

    /// The schema that one refers to, with its name, if it does.
    fn meant<'a>(api: &'a Value, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let name = schema["$ref"].as_str()?.rsplit('/').next()?;
        Some((name, &api["components"]["schemas"][name]))
    }

    /// Every schema within this one that stands for an object of its own.
    fn objects<'a>(api: &'a Value, schema: &'a Value, found: &mut Vec<&'a str>) {
        if let Some((name, schema)) = meant(api, schema)
            && schema["type"] != "string"
        {
            found.push(name);
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| objects(api, part, found)),
            Value::Array(parts) => parts.iter().for_each(|part| objects(api, part, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn refusal<T: for<'de> Deserialize<'de>>(body: &str) -> String {
        read::<T>(body.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_list_is_taken_for_no_object_in_any_body_however_deep() {
        let api: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let mut nested = BTreeMap::new();
        for operation in
            api["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
        {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some((name, schema)) = meant(&api, body) else { continue };
            for (field, schema) in schema["properties"].as_object().unwrap() {
                let mut found = Vec::new();
                objects(&api, schema, &mut found);
                nested.extend(found.into_iter().map(|object| ((name, field.as_str()), object)));
            }
        }
        // Each has a body here, in which a list has all that the object may have.
        let tried = [
            (
                ("BatchRequest", "items"),
                "SendRequest",
                refusal::<BatchRequest>(r#"{"items":[["alpha","text"]]}"#),
            ),
            (
                ("ReplyRequest", "error"),
                "ReplyError",
                refusal::<ReplyRequest>(r#"{"request":"r","error":["no","so"]}"#),
            ),
        ];
        assert_eq!(nested, tried.iter().map(|(place, object, _)| (*place, *object)).collect());
        for ((body, field), object, refusal) in &tried {
            let why = format!("invalid type: sequence, expected struct {object}");
            assert!(refusal.starts_with(&why), "{field} of {body}: {refusal}");
        }
        let whole = refusal::<SendRequest>(r#"["alpha","text"]"#);
        assert!(whole.starts_with("invalid type: sequence, expected struct SendRequest"), "{whole}");
    }

    #[test]
    fn whatever_else_is_in_a_body_is_read_as_it_was() {
        for body in [
            r#"{"to":"alpha","body":"x","priority":"now","meta":{"a":[1,-2,0.5,null,true,{"b":[]}]},"client_message_id":"m-1"}"#,
            r#"{"to":"alpha","body":"\u00e9\n","body_base64":null}"#,
            r#"{"to":7}"#,
            r#"{"to":"alpha","bod":"x"}"#,
            r#"{"to":"alpha","to":"beta"}"#,
            r#"{"to":"alpha"} x"#,
            r#"{"to":"alpha","priority":"soon"}"#,
            r#"{"to":"alpha","meta":[]}"#,
            "{",
            "",
        ] {
            let (strict, plain) =
                (read::<SendRequest>(body.as_bytes()), serde_json::from_str::<SendRequest>(body));
            match (strict, plain) {
                (Ok(strict), Ok(plain)) => assert_eq!(strict, plain, "{body}"),
                (Err(strict), Err(plain)) => assert_eq!(strict.to_string(), plain.to_string(), "{body}"),
                (strict, plain) => panic!("{body}: {strict:?}, {plain:?}"),
            }
        }
        assert_eq!(
            read::<AckRequest>(br#"{"ids":[1,18446744073709551615]}"#).unwrap().ids,
            Some(vec![1, u64::MAX])
        );
        assert!(read::<AckRequest>(br#"{"ids":[-1]}"#).is_err());
        let app = read::<Registration>(br#"{"takeover":true,"pid":7,"capabilities":["a"]}"#).unwrap();
        assert!(app.takeover && app.pid == Some(7) && app.capabilities == Some(vec!["a".to_owned()]));
    }
}
