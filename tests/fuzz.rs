//! The fuzz targets of `fuzz/` on stable Rust: each oracle judges the committed corpus and seeded mutations of it. `make fuzz`
//! looks further, with libFuzzer.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a crate of its own for libFuzzer")]
mod oracles;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use fastrand::Rng;

/// Of each target, beside its corpus.
const MUTATIONS: usize = 4000;

/// Pieces of what the targets read.
const WORDS: &str = include_str!("../fuzz/words.dict");

#[test]
fn a_head_that_goes_on_has_one_reading() {
    judge_all("preparse", MUTATIONS, oracles::preparse::judge);
}

#[test]
fn a_body_ends_where_the_grammar_says() {
    judge_all("bodies", MUTATIONS, oracles::bodies::judge);
}

#[test]
fn a_path_has_one_form_and_no_way_around_a_rule() {
    judge_all("path", MUTATIONS, oracles::path::judge);
}

#[test]
fn a_host_is_one_class_of_spellings() {
    judge_all("host_sni", MUTATIONS, oracles::host_sni::judge);
}

#[test]
fn a_proxy_header_names_one_client_in_any_pieces() {
    judge_all("proxy_protocol", MUTATIONS, oracles::proxy_protocol::judge);
}

#[test]
fn the_client_is_the_rightmost_that_nobody_vouches_for() {
    judge_all("forwarded", MUTATIONS, oracles::forwarded::judge);
}

#[test]
fn what_reaches_the_backend_is_what_was_asked() {
    judge_all("h1_e2e", MUTATIONS / 16, oracles::h1_e2e::judge);
}

#[test]
fn a_hostile_answer_is_whole_or_cut_and_hurts_nobody_else() {
    judge_all("h1_response", MUTATIONS / 16, oracles::h1_response::judge);
}

#[test]
fn frames_in_any_order_hurt_nobody() {
    judge_all("h2_e2e", MUTATIONS / 16, oracles::h2_e2e::judge);
}

#[test]
fn a_list_of_fields_arrives_as_it_was_sent() {
    judge_all("h2_to_h1", MUTATIONS / 16, oracles::h2_to_h1::judge);
}

#[test]
fn the_router_is_the_matcher_that_tries_each_rule() {
    judge_all("router_model", MUTATIONS / 8, oracles::router_model::judge);
}

#[test]
fn what_remembers_is_what_is_made_from_nothing() {
    judge_all("config_model", MUTATIONS / 16, oracles::config_model::judge);
}

#[test]
fn a_bad_object_hurts_no_good_one() {
    judge_all("k8s_objects", MUTATIONS / 8, oracles::k8s_objects::judge);
}

#[test]
fn a_pair_is_served_or_refused_and_its_key_never_told() {
    judge_all("secret_pem", MUTATIONS / 8, oracles::secret_pem::judge);
}

#[test]
fn a_guard_is_understood_or_denies() {
    judge_all("policy", MUTATIONS / 8, oracles::policy::judge);
}

fn words() -> Vec<Vec<u8>> {
    WORDS.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"')).map(unescaped).collect()
}

/// libFuzzer's way to write a word: `\xAB`, `\\` and `\"`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// `input` with a few changes; `corpus` and `words` are what is put in.
fn mutated(random: &mut Rng, mut input: Vec<u8>, corpus: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..16)).min(input.len());
        match random.u8(0..6) {
            0 => drop(input.drain(at..end)),
            1 => drop(input.splice(at..at, [random.u8(..)])),
            2 => drop(input.splice(at..at, random.choice(words).unwrap().iter().copied())),
            3 => drop(input.splice(at..end, random.choice(words).unwrap().iter().copied())),
            4 => {
                let other = random.choice(corpus).unwrap();
                let from = random.usize(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(0..8)),
        }
    }
    input
}

/// Judges the corpus of `target` and as many `mutations` of it.
fn judge_all(target: &str, mutations: usize, judge: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty());
    let told = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| judge(input))) {
            eprintln!("{target}: \"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|input| told(input));
    let (mut random, words) = (Rng::with_seed(1), words());
    for _ in 0..mutations {
        let input = random.choice(&corpus).unwrap().clone();
        told(&mutated(&mut random, input, &corpus, &words));
    }
}
