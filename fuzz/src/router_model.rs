//! Rules of Ingresses in any number and order against a matcher that goes through them one after the other.

use arbitrary::{Result, Unstructured};
use headgate::snapshot::path::normalize;
use headgate::tables::NoRoute;

use super::rules::{self, Rule};

const HOSTS: [&str; 7] = ["a.x", "b.a.x", "x", "*.x", "*.a.x", "*.b.a.x", ""];
const ASKED: [&str; 8] = ["a.x", "c.x", "b.a.x", "c.a.x", "x", "c.b.a.x", "y", "[::1]"];
const ELEMENTS: [&str; 8] = ["a", "b", "ab", "A", "", "a", "b", "%20"];
const MORE: [&str; 8] = ["c", "a%2Fb", "b%5Ca", "a%3Bx", "%2F", "..%2Fa", "a%2F..", "..;x"];

pub fn judge(data: &[u8]) {
    // An error is an input that ends too soon.
    _ = judge_rules(&mut Unstructured::new(data));
}

fn judge_rules(input: &mut Unstructured<'_>) -> Result<()> {
    let mut rules = Vec::new();
    for _ in 0..input.int_in_range(1..=24)? {
        let kind = *input.choose(&["Exact", "Prefix"])?;
        let rule = Rule::new(input.choose(&HOSTS)?, kind, &path(input, &ELEMENTS)?);
        rules.push(rule);
    }
    let tables = rules::tables(&rules);
    let all = [ELEMENTS, MORE].concat();
    while !input.is_empty() {
        let path = path(input, &all)?;
        let Ok(path) = normalize(&path) else { continue };
        for host in ASKED {
            let (here, there) =
                (rules::first(&rules, host, &path), rules::first(&rules, host, &rules::resolved(&path)));
            match rules::found(&tables, host, &path) {
                Ok(rule) => assert!(
                    Some(rule) == here && (there == here || there.is_none() && !rules::climbs(&path)),
                    "{host}{path}: {rule} of {rules:?}"
                ),
                Err(NoRoute::NotFound) => assert_eq!(here, None, "{host}{path} of {rules:?}"),
                Err(NoRoute::Ambiguous) => assert!(path.contains('%'), "{host}{path} of {rules:?}"),
            }
        }
    }
    Ok(())
}

fn path(input: &mut Unstructured<'_>, elements: &[&'static str]) -> Result<String> {
    let count = input.int_in_range(0..=4)?;
    let elements: Result<Vec<_>> = (0..count).map(|_| input.choose(elements).copied()).collect();
    Ok(format!("/{}", elements?.join("/")))
}
