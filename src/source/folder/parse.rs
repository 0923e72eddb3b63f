//! The bytes of one file become objects. Pure.
//!
//! A text that is no YAML or JSON gives nothing but its error. A document that is no valid object is reported, and the
//! other objects of the file are taken. Objects of kinds that nobody here reads are skipped with a note. What a file
//! held before, and what to keep of that, is `files`' matter.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::admit::{Admit, admit};
use super::decode::{Finding, decode};
use super::head::{Type, Unread, is_ours, kind_of, seems_policy};
use super::node::{Node, Unreadable, Value, documents};
use super::object::Object;
use super::policy::{self, Read};
use super::problem::SourceProblem;
use crate::translate::{ObjectKind, ObjectRef};

/// Brackets that may be open at once.
const MAX_NESTING: usize = 1000;

/// What a readable file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// In the order of the file.
    pub objects: Vec<Located>,
    /// Documents that are no valid object. Without `object` it is not known which one was meant.
    pub problems: Vec<SourceProblem>,
    /// What is wrong with objects that are taken all the same.
    pub flaws: Vec<SourceProblem>,
    /// What was skipped or ignored.
    pub notes: Vec<SourceProblem>,
}

/// An object and the line where it begins.
#[derive(Clone, Debug)]
pub struct Located {
    pub object: Object,
    pub line: usize,
}

/// Reads all documents of a file.
pub fn parse_documents(path: &Path, bytes: &[u8]) -> Result<Parsed, Box<SourceProblem>> {
    let file = path.display().to_string();
    let text = decode_text(&file, bytes)?;
    if let Some(at) = nested_too_deep(text) {
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let reason = format!("more than {MAX_NESTING} brackets are open here; no object is nested so deep");
        return Err(Box::new(SourceProblem { file, line: Some(line), column: None, object: None, reason }));
    }
    let nodes = documents(text).map_err(|error| {
        let Unreadable { line, column, reason } = error;
        Box::new(SourceProblem { file: file.clone(), line, column, object: None, reason })
    })?;
    let mut reading = Reading { file, lines: Lines::of(text), parsed: Parsed::default() };
    nodes.into_iter().for_each(|node| reading.document(node, None));
    Ok(reading.parsed)
}

/// Where too many brackets are open. The YAML reader takes time by the square of their number, and one file must not keep
/// the others waiting. Quotes are not looked at: text has not so many brackets that it never closes.
fn nested_too_deep(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.bytes().position(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_NESTING
    })
}

fn decode_text<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, Box<SourceProblem>> {
    let problem = |line, reason: &str| {
        Box::new(SourceProblem { file: file.to_owned(), line, column: None, object: None, reason: reason.into() })
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(problem(None, "the file is UTF-16; save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count() + 1;
        problem(Some(line), "the file is not UTF-8 text")
    })
}

struct Reading<'t> {
    file: String,
    lines: Lines<'t>,
    parsed: Parsed,
}

impl Reading<'_> {
    fn document(&mut self, node: Node<'_>, inherited: Option<&Type>) {
        if !matches!(node.value, Value::Map(_)) {
            let reason = "is not an object; one begins with apiVersion and kind";
            return self.problem(None, Finding { field: String::new(), at: node.at, reason: reason.into() });
        }
        let api_version = node.text("apiVersion").or(inherited.map(|list| list.api_version.as_str()));
        let kind = node.text("kind").or(inherited.map(|list| list.kind.as_str()));
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            let field = if api_version.is_none() { "apiVersion" } else { "kind" };
            let finding = Finding { field: field.into(), at: node.locate(field), reason: "is required".into() };
            return match api_version.is_some_and(is_ours) || kind.is_some_and(seems_policy) {
                true => self.policy(node, Some(finding)),
                false => self.problem(None, finding),
            };
        };
        let of = Type { api_version: api_version.into(), kind: kind.into() };
        match of.kind.strip_suffix("List").filter(|_| node.field("items").is_some()) {
            Some(kind) => self.items(node, &of.api_version, kind),
            None => self.object(node, &of),
        }
    }

    fn items(&mut self, node: Node<'_>, api_version: &str, kind: &str) {
        let inherited = (!kind.is_empty()).then(|| Type { api_version: api_version.into(), kind: kind.into() });
        let Value::Map(entries) = node.value else { return };
        for (_, value) in entries.into_iter().filter(|(key, _)| key.name == "items") {
            match value.value {
                Value::List(items) => items.into_iter().for_each(|item| self.document(item, inherited.as_ref())),
                Value::Null => {}
                _ => {
                    let finding = Finding { field: "items".into(), at: value.at, reason: "must be a list".into() };
                    self.problem(None, finding);
                }
            }
        }
    }

    fn object(&mut self, mut node: Node<'_>, of: &Type) {
        let kind = match kind_of(of) {
            Ok(kind) => kind,
            Err(Unread::Kind) => return self.skipped(&node, of),
            Err(Unread::Field(kind, field, reason)) => {
                let finding = Finding { field: field.into(), at: node.locate(field), reason };
                return match kind {
                    ObjectKind::ProxyPolicy => self.policy(node, Some(finding)),
                    _ => self.problem(identity(&node, kind), finding),
                };
            }
        };
        match kind {
            ObjectKind::Ingress => self.typed(&node, kind, Object::Ingress),
            ObjectKind::IngressClass => self.typed(&node, kind, Object::IngressClass),
            ObjectKind::Service => self.typed(&node, kind, Object::Service),
            ObjectKind::EndpointSlice => self.typed(&node, kind, Object::EndpointSlice),
            ObjectKind::Secret => {
                join_base64_lines(&mut node, "data");
                self.typed(&node, kind, Object::Secret);
            }
            ObjectKind::ConfigMap => {
                join_base64_lines(&mut node, "binaryData");
                self.typed(&node, kind, Object::ConfigMap);
            }
            ObjectKind::ProxyPolicy => self.policy(node, None),
            // No object of a folder has it.
            ObjectKind::Backend | ObjectKind::Namespace | ObjectKind::Node => self.skipped(&node, of),
        }
    }

    fn policy(&mut self, node: Node<'_>, head: Option<Finding>) {
        let at = node.at;
        let line = at.map_or(1, |at| self.lines.place(at).0);
        let Read { object, flaws, unknown } = policy::read(node, head, &format!("in {}:{line}", self.file));
        let object = Object::ProxyPolicy(Arc::new(object));
        let id = object.reference();
        let flaws: Vec<_> = flaws.into_iter().map(|flaw| self.describe(Some(id.clone()), flaw)).collect();
        self.parsed.flaws.extend(flaws);
        self.take(object, at, unknown);
    }

    fn typed<T: Admit + DeserializeOwned>(&mut self, node: &Node<'_>, kind: ObjectKind, wrap: fn(Arc<T>) -> Object) {
        let decoded = decode::<T>(node).map_err(|finding| explain_base64(kind, finding));
        let admitted = decoded.and_then(|mut decoded| match admit(&mut decoded.value) {
            Ok(()) => Ok(decoded),
            Err((field, reason)) => Err(Finding { at: node.locate(&field), field, reason }),
        });
        match admitted {
            Ok(decoded) => self.take(wrap(Arc::new(decoded.value)), node.at, decoded.unknown),
            Err(finding) => self.problem(identity(node, kind), finding),
        }
    }

    fn take(&mut self, object: Object, at: Option<usize>, unknown: Vec<Finding>) {
        let id = object.reference();
        for finding in unknown {
            let note = self.describe(Some(id.clone()), finding);
            self.parsed.notes.push(note);
        }
        let line = at.map_or(1, |at| self.lines.place(at).0);
        self.parsed.objects.push(Located { object, line });
    }

    fn skipped(&mut self, node: &Node<'_>, of: &Type) {
        let name = node.field("metadata").and_then(|metadata| metadata.text("name")).unwrap_or_default();
        let reason = format!("{} {name} ({}) is skipped: its kind is not read here", of.kind, of.api_version);
        let note = self.describe(None, Finding { field: String::new(), at: node.at, reason });
        self.parsed.notes.push(note);
    }

    fn problem(&mut self, object: Option<ObjectRef>, finding: Finding) {
        let problem = self.describe(object, finding);
        self.parsed.problems.push(problem);
    }

    fn describe(&self, object: Option<ObjectRef>, finding: Finding) -> SourceProblem {
        let (line, column) = finding.at.map(|at| self.lines.place(at)).unzip();
        let reason = match (finding.field.as_str(), &object) {
            ("", _) => finding.reason,
            (field, _) => format!("{field}: {}", finding.reason),
        };
        SourceProblem { file: self.file.clone(), line, column, object, reason }
    }
}

/// Finds the line of a byte.
struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes());
        Lines { text, starts: std::iter::once(0).chain(newlines.map(|newline| newline + 1)).collect() }
    }

    /// Line and column of a byte, both from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        let column = self.text[self.starts[line - 1]..at].chars().count() + 1;
        (line, column)
    }
}

/// Which object a document means, even if it cannot be decoded.
fn identity(node: &Node<'_>, kind: ObjectKind) -> Option<ObjectRef> {
    let metadata = node.field("metadata")?;
    let name = metadata.text("name")?.to_owned();
    let namespace = match kind {
        ObjectKind::IngressClass => "",
        _ => metadata.text("namespace").unwrap_or("default"),
    };
    Some(ObjectRef { kind, namespace: namespace.to_owned(), name })
}

/// Base64 may be broken into lines, as the API server allows.
fn join_base64_lines(node: &mut Node<'_>, field: &str) {
    let Some(Value::Map(entries)) = node.field_mut(field).map(|node| &mut node.value) else { return };
    for (_, value) in entries {
        if let Value::String(text) = &mut value.value
            && text.contains(['\n', '\r'])
        {
            text.to_mut().retain(|c| !matches!(c, '\n' | '\r'));
        }
    }
}

fn explain_base64(kind: ObjectKind, mut finding: Finding) -> Finding {
    let base64 = match kind {
        ObjectKind::Secret => finding.field.starts_with("data"),
        ObjectKind::ConfigMap => finding.field.starts_with("binaryData"),
        _ => false,
    };
    if base64 && !finding.reason.starts_with("must be") {
        let field = if kind == ObjectKind::Secret { "stringData" } else { "data" };
        finding.reason = format!("must be base64 ({}); plain text goes under {field}", finding.reason);
    }
    finding
}

#[cfg(test)]
mod tests;
