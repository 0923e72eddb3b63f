//! The text of one file as a tree, read the way `kubectl` reads it.
//!
//! kubectl turns YAML into JSON with a YAML 1.1 reader: `on`, `yes` and `0777` without quotes are not strings, keys become
//! strings, `<<` merges. The tree follows that, and remembers where in the text its parts stand, so that what is wrong
//! later can be told with a line. How one value is read is `reader`'s part, what a tree means that of `decode` and
//! `parse`.

use std::borrow::Cow;

use serde::de::DeserializeSeed;

use super::reader::{Budget, Reader};

/// One value of a document.
#[derive(Debug)]
pub(super) struct Node<'t> {
    /// Byte offset in the text, where known.
    pub(super) at: Option<usize>,
    pub(super) value: Value<'t>,
}

#[derive(Debug)]
pub(super) enum Value<'t> {
    Null,
    /// With the word in the text, as `on`.
    Bool(bool, &'t str),
    Integer(i64),
    Float(f64),
    String(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Map(Vec<(Key<'t>, Node<'t>)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug)]
pub(super) struct Key<'t> {
    pub(super) at: Option<usize>,
    pub(super) name: Cow<'t, str>,
}

impl<'t> Node<'t> {
    /// The value under `name`, if this is a mapping that has it.
    pub(super) fn field(&self, name: &str) -> Option<&Node<'t>> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    pub(super) fn field_mut(&mut self, name: &str) -> Option<&mut Node<'t>> {
        let Value::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    /// The string under `name`, if there is one that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Where `path` (as `spec.rules[0].host`) stands, or as much of it as there is.
    pub(super) fn locate(&self, path: &str) -> Option<usize> {
        let (mut node, mut at) = (self, self.at);
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let (place, next) = match &node.value {
                Value::List(list) => match step.parse().ok().and_then(|index: usize| list.get(index)) {
                    Some(element) => (element.at, element),
                    None => break,
                },
                Value::Map(entries) => match entries.iter().find(|(key, _)| key.name == step) {
                    Some((key, value)) => (key.at, value),
                    None => break,
                },
                _ => break,
            };
            (node, at) = (next, place.or(at));
        }
        at
    }
}

/// A text that cannot be read. Line and column count from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) reason: String,
}

/// All documents of `text` that are not empty. A text that begins with `{` is tried as JSON first, as kubectl does.
pub(super) fn documents(text: &str) -> Result<Vec<Node<'_>>, Unreadable> {
    let budget = Budget::default();
    let reader = Reader::new(text, &budget);
    if text.trim_start().starts_with('{') {
        let json = json_documents(text, reader);
        // Flow style is YAML and no JSON; if it is neither, JSON is what was meant.
        return json.or_else(|error| yaml_documents(text, reader).map_err(|_| error));
    }
    yaml_documents(text, reader)
}

fn yaml_documents<'t>(text: &'t str, reader: Reader<'_, 't>) -> Result<Vec<Node<'t>>, Unreadable> {
    let mut nodes = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let node = reader.deserialize(document).map_err(|error| yaml_error(&error, text))?;
        if !matches!(node.value, Value::Null) {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

fn json_documents<'t>(text: &'t str, reader: Reader<'_, 't>) -> Result<Vec<Node<'t>>, Unreadable> {
    let mut nodes = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text);
    while stream.end().is_err() {
        nodes.push(reader.deserialize(&mut stream).map_err(|error| json_error(&error))?);
    }
    Ok(nodes)
}

fn yaml_error(error: &serde_yaml::Error, text: &str) -> Unreadable {
    let mut reason = error.to_string();
    // Bytes that the scanner never sees are told by offset only.
    if let Some((what, offset)) = reason.split_once(" at position ")
        && let Some(before) = offset.parse().ok().and_then(|offset| text.get(..offset))
    {
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        return Unreadable { line: Some(line), column: Some(column), reason: what.into() };
    }
    let Some(location) = error.location() else {
        return Unreadable { line: None, column: None, reason };
    };
    let (line, column) = (location.line(), location.column());
    reason = reason.replacen(&format!(" at line {line} column {column}"), "", 1);
    let place = text.lines().nth(line - 1).and_then(|line| line.chars().nth(column - 1));
    if reason.contains("cannot start any token") && place == Some('\t') {
        reason = "a tab stands where YAML wants spaces".into();
    }
    Unreadable { line: Some(line), column: Some(column), reason }
}

fn json_error(error: &serde_json::Error) -> Unreadable {
    let (line, column) = (error.line(), error.column());
    let reason = error.to_string().replacen(&format!(" at line {line} column {column}"), "", 1);
    Unreadable { line: Some(line), column: Some(column), reason }
}
