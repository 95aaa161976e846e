//! A configuration value that stands alone or in a list: `"x"` or `["x", "y"]`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// Its elements; none if the key is left out.
#[derive(Debug)]
pub(crate) struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// By hand: serde's untagged enums cannot say where in the text an error stands.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_str<E: Error>(self, one: &str) -> Result<List<T>, E> {
        Ok(List(vec![T::deserialize(one.into_deserializer())?]))
    }

    fn visit_u64<E: Error>(self, one: u64) -> Result<List<T>, E> {
        Ok(List(vec![T::deserialize(one.into_deserializer())?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, one: A) -> Result<List<T>, A::Error> {
        Ok(List(vec![T::deserialize(MapAccessDeserializer::new(one))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<List<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(many)).map(List)
    }
}
