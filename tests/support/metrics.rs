//! The Prometheus text format, as far as tests ask about it.

use std::collections::BTreeMap;

/// One scrape: every series by name and labels.
#[derive(Debug)]
pub struct Metrics {
    series: Vec<Series>,
}

#[derive(Debug)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Metrics {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Metrics { series: lines.map(series).collect() }
    }

    /// The sum over the series of this name that have these labels; 0 if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|series| series.value).sum()
    }

    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    pub fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| {
            series.name == name && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// How many series there are in all.
    pub fn len(&self) -> usize {
        self.series.len()
    }
}

#[track_caller]
fn series(line: &str) -> Series {
    let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
    let value = value.parse().unwrap_or_else(|e| panic!("{e} in {line}"));
    let (name, labels) = match id.split_once('{') {
        Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').unwrap())),
        None => (id, BTreeMap::new()),
    };
    Series { name: name.to_owned(), labels, value }
}

/// `a="x",b="y"`; no test uses a label value with a quote or a comma.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
}
