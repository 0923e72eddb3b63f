//! Reads one table of the file key by key, and gathers what is wrong with it: where, what, and what is allowed.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a text, each thing with its line.
#[derive(Debug)]
pub(super) struct Complaints<'a> {
    text: &'a str,
    found: RefCell<Vec<(usize, String)>>,
}

/// A table, and the keys of it that were asked for.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// As in the file, with its brackets.
    name: &'static str,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
    complaints: &'a Complaints<'a>,
}

impl<'a> Complaints<'a> {
    pub(super) fn about(text: &'a str) -> Self {
        Complaints { text, found: RefCell::default() }
    }

    /// `at`: a byte of the text.
    pub(super) fn add(&self, at: usize, what: String) {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        self.found.borrow_mut().push((line, what));
    }

    /// In the order of lines.
    pub(super) fn into_vec(self) -> Vec<(usize, String)> {
        let mut found = self.found.into_inner();
        found.sort();
        found
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(
        name: &'static str,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
        complaints: &'a Complaints<'a>,
    ) -> Self {
        Table { name, span, entries, known: Vec::new(), complaints }
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        let allowed = format!("a whole number from {least} to {most}");
        let (value, span) = self.find(key)?;
        let DeValue::Integer(integer) = value else { return self.refuse(key, span, &shown(value), &allowed) };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        number.filter(|number| range.contains(number)).or_else(|| {
            let what = format!("{} is out of range", integer.as_str());
            self.refuse(key, span, &what, &allowed)
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (value, span) = self.find(key)?;
        value.as_bool().or_else(|| self.refuse(key, span, &shown(value), "true or false"))
    }

    /// What `read` makes of a text, or says is wrong with it.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (value, span) = self.find(key)?;
        let read = value.as_str().ok_or_else(|| shown(value)).and_then(read);
        read.map_err(|what| self.refuse::<T>(key, span, &what, allowed)).ok()
    }

    /// A list of texts. `None`: it is not there, or has no entry.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (value, span) = self.find(key)?;
        let Some(array) = value.as_array() else { return self.refuse(key, span, &shown(value), allowed) };
        let entry = |entry: &Spanned<DeValue<'_>>| {
            let value = entry.get_ref();
            let read = value.as_str().and_then(&read);
            read.or_else(|| self.refuse(key, entry.span(), &shown(value), allowed))
        };
        Some(array.iter().filter_map(entry).collect()).filter(|list: &Vec<T>| !list.is_empty())
    }

    /// A key that has to be there is not.
    pub(super) fn require<T>(&self, key: &'static str, value: Option<T>, allowed: &str) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.refuse::<T>(key, self.span.clone(), "it is missing", allowed);
        }
        value
    }

    /// Something about a key that is there, or about the whole table.
    pub(super) fn complain(&self, key: &str, what: &str) {
        let span = self.entries.get(key).map_or(self.span.clone(), Spanned::span);
        self.complaints.add(span.start, format!("{} {key}: {what}", self.name));
    }

    /// No other keys than those that were asked for may be there.
    pub(super) fn finish(mut self) {
        self.known.sort_unstable();
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&&**key.get_ref())) {
            let what =
                format!("{} {}: there is no such key; allowed are {}", self.name, key.get_ref(), self.known.join(", "));
            self.complaints.add(key.span().start, what);
        }
    }

    fn find(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Range<usize>)> {
        self.known.push(key);
        self.entries.get(key).map(|value| (value.get_ref(), value.span()))
    }

    fn refuse<T>(&self, key: &str, span: Range<usize>, what: &str, allowed: &str) -> Option<T> {
        self.complaints.add(span.start, format!("{} {key}: {what}; write {allowed}", self.name));
        None
    }
}

/// A value that is none of those that are allowed.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?} is not allowed", text.chars().take(80).collect::<String>()),
        DeValue::Integer(number) => format!("{} is not allowed", number.as_str()),
        DeValue::Float(number) => format!("{} is not allowed", number.as_str()),
        DeValue::Boolean(boolean) => format!("{boolean} is not allowed"),
        DeValue::Datetime(time) => format!("{time} is not allowed"),
        DeValue::Array(_) => "a list is not allowed".to_owned(),
        DeValue::Table(_) => "a table is not allowed".to_owned(),
    }
}
