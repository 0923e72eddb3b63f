use std::sync::Mutex;
use std::time::Instant as Clock;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Answers of a made-up resolver, and what it was asked.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    answers: BTreeMap<String, Vec<&'static str>>,
    asked: Vec<String>,
}

impl Zone {
    fn set(&self, name: &str, addresses: &[&'static str]) {
        self.0.lock().unwrap().answers.insert(name.into(), addresses.to_vec());
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    fn resolver(&self) -> Resolver {
        let zone = self.clone();
        Resolver::with(Arc::new(move |name| {
            let mut names = zone.0.lock().unwrap();
            let answer = names.answers.get(&name).map(|found| found.iter().map(|a| a.parse().unwrap()).collect());
            names.asked.push(name);
            Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such host")) })
        }))
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn shown(resolver: &Resolver) -> Vec<String> {
    resolver.addresses().iter().map(|(name, addresses)| format!("{name}={addresses:?}")).collect()
}

async fn changed(resolver: &mut Resolver) {
    tokio::time::timeout(DEADLINE, resolver.changed()).await.unwrap();
}

#[tokio::test]
async fn localhost_resolves_by_the_system() {
    let mut resolver = Resolver::start();
    assert_eq!(shown(&resolver), [""; 0]);
    resolver.want(&names(&["localhost"]));
    changed(&mut resolver).await;
    assert!(resolver.addresses()["localhost"].iter().all(IpAddr::is_loopback));
}

#[tokio::test]
async fn answers_are_sorted_and_without_duplicates() {
    let zone = Zone::default();
    zone.set("a", &["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]);
    let mut resolver = zone.resolver();
    resolver.want(&names(&["a"]));
    changed(&mut resolver).await;
    assert_eq!(shown(&resolver), ["a=[10.0.0.1, 10.0.0.2, ::1]"]);
}

#[tokio::test]
async fn more_names_than_lookups_are_all_resolved() {
    let zone = Zone::default();
    let many: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
    many.iter().for_each(|name| zone.set(name, &["10.0.0.1"]));
    let mut resolver = zone.resolver();
    resolver.want(&many.iter().cloned().collect());
    while resolver.addresses().len() < 50 {
        changed(&mut resolver).await;
    }
    assert_eq!(zone.asked().len(), 50);
}

#[tokio::test]
async fn a_name_that_is_no_longer_wanted_is_dropped() {
    let zone = Zone::default();
    zone.set("a", &["10.0.0.1"]);
    zone.set("b", &["10.0.0.2"]);
    let mut resolver = zone.resolver();
    resolver.want(&names(&["a"]));
    changed(&mut resolver).await;
    resolver.want(&names(&["b"]));
    changed(&mut resolver).await;
    assert_eq!(shown(&resolver), ["b=[10.0.0.2]"]);
}

#[tokio::test]
async fn a_failing_name_is_tried_again_and_then_resolves() {
    let zone = Zone::default();
    let mut resolver = zone.resolver();
    resolver.want(&names(&["a"]));
    while zone.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&resolver), [""; 0]);
    zone.set("a", &["10.0.0.1"]);
    changed(&mut resolver).await;
    assert_eq!((shown(&resolver), zone.asked().len()), (vec!["a=[10.0.0.1]".to_owned()], 2));
}

#[tokio::test]
async fn an_equal_answer_is_no_change_and_a_failure_keeps_the_last_one() {
    let (answers, receiver) = watch::channel(Answers::new());
    let mut task = Task {
        lookup: Arc::new(|_| Box::pin(async { Ok(Vec::new()) })),
        wanted: watch::channel(BTreeSet::new()).1,
        answers,
        names: BTreeMap::from([("a".to_owned(), Name { due: None, failures: 0 })]),
        running: JoinSet::new(),
    };
    let address = || Ok(vec!["10.0.0.1".parse().unwrap()]);
    task.finish("a".into(), address());
    let mut seen = receiver.clone();
    assert!(seen.has_changed().unwrap());
    seen.mark_unchanged();
    for result in [address(), Err(io::Error::other("refused")), Ok(Vec::new())] {
        task.finish("a".into(), result);
    }
    assert!(!seen.has_changed().unwrap());
    assert_eq!(seen.borrow()["a"].len(), 1);
    assert_eq!(task.names["a"].failures, 2);
}

/// `hang…` is answered never, `gone…` without an address.
fn looked_up(patience: Duration, names: impl Iterator<Item = String>) -> Vec<String> {
    let answers = answers_within(patience, names.collect(), |name| {
        if name.starts_with("hang") {
            std::thread::park_timeout(DEADLINE * 6);
        }
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        (!name.starts_with("gone")).then_some(address).into_iter().collect()
    });
    assert!(answers.values().all(|addresses| addresses.len() == 1));
    answers.into_keys().collect()
}

#[test]
fn a_name_that_hangs_costs_none_of_the_others() {
    let names = ["b", "gone", "hang-1", "a", "hang-2"].map(str::to_owned);
    assert_eq!(looked_up(Duration::from_secs(1), names.into_iter()), ["a", "b"]);
}

#[test]
fn more_names_than_threads_are_all_looked_up_and_nothing_is_waited_for_then() {
    let started = Clock::now();
    let many = (0..5 * MAX_THREADS).map(|at| format!("n{at}"));
    assert_eq!(looked_up(DEADLINE * 6, many).len(), 5 * MAX_THREADS);
    assert_eq!(looked_up(DEADLINE * 6, ["gone".to_owned()].into_iter()), [""; 0]);
    assert_eq!(looked_up(DEADLINE * 6, std::iter::empty()), [""; 0]);
    assert!(started.elapsed() < DEADLINE * 3);
}

#[test]
fn pauses_grow_to_the_life_of_an_answer() {
    let pauses: Vec<u64> = [1, 2, 3, 4, 5, 6, 40].iter().map(|failures| pause(*failures).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}
