//! Builds a [`Node`] from what a YAML or JSON parser finds.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::node::{Key, Node, Value};

/// What the trees of one text may still cost, so that a few aliases cannot fill the memory.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

/// What a value costs on top of its text.
const NODE_COST: usize = 64;

impl Default for Budget {
    fn default() -> Self {
        Budget(Cell::new(256 << 20))
    }
}

/// Reads one value, from either format.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 't> {
    text: &'t str,
    budget: &'r Budget,
}

impl<'r, 't> Reader<'r, 't> {
    pub(super) fn new(text: &'t str, budget: &'r Budget) -> Self {
        Reader { text, budget }
    }

    fn node<E: Error>(self, at: Option<usize>, value: Value<'t>) -> Result<Node<'t>, E> {
        let text = if let Value::String(text) = &value { text.len() } else { 0 };
        match self.budget.0.get().checked_sub(NODE_COST + text) {
            Some(left) => self.budget.0.set(left),
            None => return Err(E::custom("the file is too large once its aliases are followed")),
        }
        Ok(Node { at, value })
    }

    /// Where `part` stands, given that it was borrowed from the text.
    fn offset(self, part: &str) -> Option<usize> {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (start + part.len() <= self.text.len()).then_some(start)
    }

    /// Neither in quotes nor tagged, as in `!!str on`.
    fn is_plain(self, at: usize) -> bool {
        let before = &self.text[..at];
        let word = before.trim_end_matches(' ').rsplit([' ', '\n']).next().unwrap_or_default();
        !before.ends_with(['"', '\'']) && !word.starts_with('!')
    }
}

impl<'t> DeserializeSeed<'t> for Reader<'_, 't> {
    type Value = Node<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Node<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Reader<'_, 't> {
    type Value = Node<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'t>, E> {
        self.node(None, Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node<'t>, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'t>, E> {
        self.node(None, Value::Bool(value, if value { "true" } else { "false" }))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'t>, E> {
        self.node(None, Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'t>, E> {
        self.node(None, i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node<'t>, E> {
        self.node(None, Value::Float(value as f64))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node<'t>, E> {
        self.node(None, Value::Float(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'t>, E> {
        self.node(None, Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Node<'t>, E> {
        let at = self.offset(text);
        let plain = yaml_1_1(text).filter(|_| at.is_some_and(|at| self.is_plain(at)));
        self.node(at, plain.unwrap_or(Value::String(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node<'t>, E> {
        self.node(None, Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut elements: A) -> Result<Node<'t>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        self.node(list.first().and_then(|first: &Node<'_>| first.at), Value::List(list))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Node<'t>, A::Error> {
        let (mut map, mut seen, mut merged) = (Vec::new(), HashSet::new(), None);
        while let Some(key) = entries.next_key_seed(KeyReader { reader: self, seen: &mut seen })? {
            let value = entries.next_value_seed(self)?;
            if key.name == "<<" {
                merged = Some(value);
            } else {
                map.push((key, value));
            }
        }
        if let Some(merged) = merged {
            merge(&mut map, &mut seen, merged).map_err(A::Error::custom)?;
        }
        let at = map.first().and_then(|(key, _): &(Key<'_>, _)| key.at);
        self.node(at, Value::Map(map))
    }

    fn visit_enum<A: EnumAccess<'t>>(self, data: A) -> Result<Node<'t>, A::Error> {
        let (tag, content) = data.variant::<String>()?;
        content.newtype_variant::<IgnoredAny>()?;
        Err(A::Error::custom(format_args!("the tag !{tag} is not understood; write the value without it")))
    }
}

/// Adds what `<<` brings: what the mapping has itself counts more, and the first of several merged ones.
fn merge<'t>(
    map: &mut Vec<(Key<'t>, Node<'t>)>,
    seen: &mut HashSet<Cow<'t, str>>,
    merged: Node<'t>,
) -> Result<(), &'static str> {
    match merged.value {
        Value::Map(entries) => {
            map.extend(entries.into_iter().filter(|(key, _)| seen.insert(key.name.clone())));
            Ok(())
        }
        Value::List(list) => list.into_iter().try_for_each(|element| match element.value {
            Value::Map(_) => merge(map, seen, element),
            _ => Err("`<<` needs a mapping or a list of mappings"),
        }),
        _ => Err("`<<` needs a mapping or a list of mappings"),
    }
}

/// Reads a key: always a string, and only once in a mapping. That is checked while the parser stands at the key, so that
/// the error carries that place.
struct KeyReader<'r, 's, 't> {
    reader: Reader<'r, 't>,
    seen: &'s mut HashSet<Cow<'t, str>>,
}

impl<'t> KeyReader<'_, '_, 't> {
    fn key<E: Error>(self, node: Node<'t>) -> Result<Key<'t>, E> {
        let name = match node.value {
            Value::String(name) => name,
            Value::Bool(value, _) => Cow::Borrowed(if value { "true" } else { "false" }),
            Value::Integer(value) => Cow::Owned(value.to_string()),
            Value::Float(value) => Cow::Owned(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => return Err(E::custom("a key must be a string")),
        };
        if !self.seen.insert(name.clone()) {
            return Err(E::custom(format_args!("the key {name:?} stands twice in one mapping")));
        }
        Ok(Key { at: node.at, name })
    }
}

impl<'t> DeserializeSeed<'t> for KeyReader<'_, '_, 't> {
    type Value = Key<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Key<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for KeyReader<'_, '_, 't> {
    type Value = Key<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is a string")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Key<'t>, E> {
        let node = self.reader.visit_bool(value)?;
        self.key(node)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Key<'t>, E> {
        let node = self.reader.visit_i64(value)?;
        self.key(node)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Key<'t>, E> {
        let node = self.reader.visit_u64(value)?;
        self.key(node)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Key<'t>, E> {
        let node = self.reader.visit_f64(value)?;
        self.key(node)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Key<'t>, E> {
        let node = self.reader.visit_borrowed_str(text)?;
        self.key(node)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key<'t>, E> {
        let node = self.reader.visit_str(text)?;
        self.key(node)
    }
}

/// What Go's YAML 1.1 reader makes of an unquoted word that YAML 1.2 takes for a string.
fn yaml_1_1(word: &str) -> Option<Value<'_>> {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some(Value::Bool(true, word)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some(Value::Bool(false, word)),
        _ => {}
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits: String = word.chars().filter(|c| *c != '_').collect();
    if unsigned.starts_with('0') && unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'7' | b'_')) {
        return i64::from_str_radix(&digits, 8).ok().map(Value::Integer);
    }
    unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'_')).then(|| digits.parse().ok().map(Value::Integer))?
}
