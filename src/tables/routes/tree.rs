//! The paths of one host as a tree of path elements: one walk finds the exact path and the longest prefix.
//!
//! `/a/b` has the elements `a`, `b`; `/a/` has `a` and an empty one, and `//` two empty ones. A prefix covers its node
//! and all below. The walk ends where no rule goes on, so a long path costs no more than the rules are deep.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use memchr::memchr;

use crate::snapshot::{PathKind, PathMatch};

/// From a path to the number of the rule that takes it.
#[derive(Debug)]
pub(super) struct PathTree {
    /// The first is the root.
    nodes: Vec<Node>,
    /// The children of all nodes, by parent and element.
    edges: HashTable<Edge>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Node {
    /// The rule for the path that ends here.
    exact: Option<u32>,
    /// The rule for this path and all below.
    prefix: Option<u32>,
    has_children: bool,
}

#[derive(Debug)]
struct Edge {
    parent: u32,
    element: Box<str>,
    child: u32,
}

/// The rule that takes a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Its place among the rules that the tree was built from.
    pub(super) rule: usize,
    /// How many bytes of the path the rule names; the rest may be anything.
    pub(super) length: usize,
}

impl PathTree {
    /// `rules` are in order of precedence: of two for the same paths the first counts.
    pub(super) fn build<'a>(rules: impl Iterator<Item = &'a PathMatch>) -> Self {
        let mut tree =
            PathTree { nodes: vec![Node::default()], edges: HashTable::new(), hasher: RandomState::default() };
        for (number, rule) in (0..).zip(rules) {
            let path = rule.path.as_str();
            match rule.kind {
                PathKind::Exact => tree.grow(path).exact.get_or_insert(number),
                // `/a/` and `/a` cover the same elements, as the table in the Kubernetes documentation has it.
                PathKind::Prefix | PathKind::ImplementationSpecific => {
                    tree.grow(path.strip_suffix('/').unwrap_or(path)).prefix.get_or_insert(number)
                }
            };
        }
        tree
    }

    /// The exact rule for `path`, else that of its longest prefix.
    pub(super) fn find(&self, path: &str) -> Option<Match> {
        let mut node = 0;
        let mut end = 0;
        let mut longest = None;
        loop {
            let Node { exact, prefix, has_children } = &self.nodes[node as usize];
            if let Some(rule) = exact
                && end == path.len()
            {
                return Some(Match { rule: *rule as usize, length: end });
            }
            longest = prefix.map(|rule| Match { rule: rule as usize, length: end }).or(longest);
            if !has_children || end == path.len() {
                return longest;
            }
            let start = end + 1;
            end = memchr(b'/', &path.as_bytes()[start..]).map_or(path.len(), |at| start + at);
            let Some(child) = self.child(node, &path[start..end]) else { return longest };
            node = child;
        }
    }

    fn child(&self, parent: u32, element: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((parent, element));
        let edge = self.edges.find(hash, |edge| edge.parent == parent && *edge.element == *element)?;
        Some(edge.child)
    }

    /// The node of `path`, made if need be; `""` is the root's.
    fn grow(&mut self, path: &str) -> &mut Node {
        let mut node = 0;
        for element in path.split('/').skip(1) {
            node = self.child(node, element).unwrap_or_else(|| self.grow_child(node, element));
        }
        &mut self.nodes[node as usize]
    }

    fn grow_child(&mut self, parent: u32, element: &str) -> u32 {
        let child = self.nodes.len() as u32;
        self.nodes.push(Node::default());
        self.nodes[parent as usize].has_children = true;
        let hash = |edge: &Edge| self.hasher.hash_one((edge.parent, &*edge.element));
        let edge = Edge { parent, element: element.into(), child };
        self.edges.insert_unique(hash(&edge), edge, hash);
        child
    }
}
