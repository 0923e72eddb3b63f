//! A [`Node`] becomes a Kubernetes type, as the API server would decode it: `null` is the same as absent, a field of
//! another type is an error that names the field and the way out, an unknown field is noted and skipped.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::node::{Key, Node, Value};

/// What was decoded, and the fields that its type does not have.
#[derive(Debug)]
pub(super) struct Decoded<T> {
    pub(super) value: T,
    pub(super) unknown: Vec<Finding>,
}

/// Something about one field of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// As `spec.rules[0].host`; empty for the document itself.
    pub(super) field: String,
    /// Byte offset in the text, where known.
    pub(super) at: Option<usize>,
    pub(super) reason: String,
}

pub(super) fn decode<T: de::DeserializeOwned>(node: &Node<'_>) -> Result<Decoded<T>, Finding> {
    let unknown = RefCell::default();
    let decoder = Decoder { node, path: Path::Root, at: node.at, unknown: &unknown };
    let value = decoder.run(|decoder| T::deserialize(decoder)).map_err(|Failure(finding)| finding)?;
    Ok(Decoded { value, unknown: unknown.into_inner() })
}

/// The way from the document to a field.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Element(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                parent.fmt(f)?;
                f.write_str(if matches!(parent, Path::Root) { "" } else { "." })?;
                f.write_str(name)
            }
            Path::Key(parent, name) => write!(f, "{parent}[{name}]"),
        }
    }
}

/// The error of serde's traits. The field is filled in where it is known: not by the visitors of the types.
#[derive(Debug)]
struct Failure(Finding);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Failure(Finding { field: String::new(), at: None, reason: message.to_string() })
    }
}

#[derive(Clone, Copy)]
struct Decoder<'d, 't> {
    node: &'d Node<'t>,
    path: Path<'d>,
    /// Where the node stands, or else the nearest thing around it that has a known place.
    at: Option<usize>,
    unknown: &'d RefCell<Vec<Finding>>,
}

impl<'d> Decoder<'d, '_> {
    /// Decodes, and gives an error this field if it has none.
    fn run<T>(self, decode: impl FnOnce(Self) -> Result<T, Failure>) -> Result<T, Failure> {
        decode(self).map_err(|Failure(mut finding)| {
            if finding.field.is_empty() {
                finding.field = self.path.to_string();
                finding.at = self.at;
            }
            Failure(finding)
        })
    }

    fn expected(self, what: &str) -> Failure {
        let found = match &self.node.value {
            Value::Null => "nothing".into(),
            Value::Bool(_, word) => format!("`{word}` without quotes, which is a boolean"),
            Value::Integer(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::String(text) => format!("the string {text:?}"),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        };
        let hint = match (&self.node.value, what) {
            (Value::Bool(_, word), "a string") => format!("; write \"{word}\""),
            (Value::Integer(_) | Value::Float(_), "a string") => "; put it in quotes".into(),
            (Value::String(_), "a whole number" | "true or false") => "; write it without quotes".into(),
            _ => String::new(),
        };
        de::Error::custom(format_args!("must be {what}, not {found}{hint}"))
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_i64(0),
            Value::Integer(number) => visitor.visit_i64(number),
            _ => Err(self.expected("a whole number")),
        }
    }

    fn string<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_str(text),
            _ => Err(self.expected("a string")),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_seq(Elements { parent: &self, list: [].iter().enumerate() }),
            Value::List(list) => visitor.visit_seq(Elements { parent: &self, list: list.iter().enumerate() }),
            _ => Err(self.expected("a list")),
        }
    }

    fn map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let entries = match &self.node.value {
            Value::Null => [].iter(),
            Value::Map(entries) => entries.iter(),
            _ => return Err(self.expected("a mapping")),
        };
        visitor.visit_map(Entries { parent: &self, entries, entry: None })
    }
}

impl<'de> Deserializer<'de> for Decoder<'_, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::String(text) => visitor.visit_str(text),
            Value::List(_) => self.list(visitor),
            Value::Map(_) => self.map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value, _) => visitor.visit_bool(value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.integer(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.integer(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.map(visitor)
    }

    /// One word of several.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(StrDeserializer::new(text)),
            _ => Err(self.expected(&format!("one of {}", words.join(", ")))),
        }
    }

    /// Asked for only where a type has no such field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.unknown.borrow_mut().push(Finding {
            field: self.path.to_string(),
            at: self.at,
            reason: "is not a field of this kind and is ignored".into(),
        });
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Elements<'d, 't> {
    parent: &'d Decoder<'d, 't>,
    list: std::iter::Enumerate<std::slice::Iter<'d, Node<'t>>>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some((index, node)) = self.list.next() else { return Ok(None) };
        let path = Path::Element(&self.parent.path, index);
        let at = node.at.or(self.parent.at);
        let element = Decoder { node, path, at, unknown: self.parent.unknown };
        element.run(|decoder| seed.deserialize(decoder)).map(Some)
    }
}

struct Entries<'d, 't> {
    parent: &'d Decoder<'d, 't>,
    entries: std::slice::Iter<'d, (Key<'t>, Node<'t>)>,
    /// The entry whose key was asked for last.
    entry: Option<&'d (Key<'t>, Node<'t>)>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Failure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        self.entry = self.entries.next();
        self.entry.map(|(key, _)| seed.deserialize(StrDeserializer::new(&key.name))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let (key, node) = self.entry.take().ok_or_else(|| de::Error::custom("a value was read before its key"))?;
        let path = Path::Key(&self.parent.path, &key.name);
        let at = match node.value {
            Value::List(_) | Value::Map(_) => key.at.or(node.at),
            _ => node.at.or(key.at),
        };
        let at = at.or(self.parent.at);
        let value = Decoder { node, path, at, unknown: self.parent.unknown };
        value.run(|decoder| seed.deserialize(decoder))
    }
}
