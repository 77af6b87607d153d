//! Generated orders of what nodes, members and the bus do.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use tokio::time::sleep;

use crate::nodes::{Bus, Faults, nodes, received, until_losses_count};

/// Generated values: the same in each run.
fn generate<S: Strategy>(cases: usize, strategy: S) -> Vec<S::Value> {
    let config =
        ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(0x5EED), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    (0..cases).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Cut(usize),
    Heal(usize),
    Lose(usize, u64),
    Repeat(usize, u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..3usize;
    vec(
        prop_oneof![
            6 => node.clone().prop_map(Step::Write),
            1 => node.clone().prop_map(Step::Cut),
            1 => node.clone().prop_map(Step::Heal),
            1 => (node.clone(), 1..4u64).prop_map(|(node, messages)| Step::Lose(node, messages)),
            1 => (node, 1..4u64).prop_map(|(node, messages)| Step::Repeat(node, messages)),
            2 => (1..15_000u64).prop_map(Step::Wait),
        ],
        1..60,
    )
}

/// Whatever happens to the bus: each message of another node is delivered or reported, once, in order.
pub async fn every_message_is_delivered_or_reported<B: Bus>() {
    for steps in generate(60, steps()) {
        let bus = B::start();
        let mut nodes = nodes(&bus, 3).await;
        let mut members = Vec::new();
        for node in &mut nodes {
            members.push(node.member(&["a"]).await);
        }
        until_losses_count().await;
        let mut written = [0u64; 3];
        for step in &steps {
            match *step {
                Step::Write(node) => {
                    nodes[node].groups.write("a", format!("{node} {}", written[node]));
                    written[node] += 1;
                }
                Step::Cut(node) => nodes[node].backplane.cut(),
                Step::Heal(node) => nodes[node].backplane.heal(),
                Step::Lose(node, messages) => nodes[node].backplane.lose(messages),
                Step::Repeat(node, messages) => nodes[node].backplane.repeat(messages),
                Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            }
        }
        for node in &nodes {
            node.backplane.heal();
            node.backplane.lose(0);
        }
        // The marks of the last messages.
        sleep(Duration::from_secs(11)).await;
        for (number, node) in nodes.iter().enumerate() {
            let (connection, peer) = &mut members[number];
            let texts = received(peer, *connection).await;
            let stats = node.stats();
            let elsewhere = written.iter().sum::<u64>() - written[number];
            assert_eq!(stats.delivered + stats.lost, elsewhere, "node {number}: {stats:?}\n{steps:?}");
            assert_eq!(texts.len() as u64, stats.delivered + written[number], "node {number}\n{steps:?}");
            assert_eq!(stats.published + stats.unpublished, written[number]);
            assert_eq!(node.take_gaps().iter().map(|(_, messages)| messages).sum::<u64>(), stats.lost);
            for sender in ["0", "1", "2"] {
                let order: Vec<u64> = texts
                    .iter()
                    .filter_map(|text| text.split_once(' ').filter(|(from, _)| *from == sender)?.1.parse().ok())
                    .collect();
                assert!(order.is_sorted_by(|one, next| one < next), "{sender}: {order:?}\n{steps:?}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    Join(usize, usize),
    Leave(usize, usize),
    Wait(u64),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let place = || (0..4usize, 0..3usize);
    vec(
        prop_oneof![
            3 => place().prop_map(|(member, group)| Move::Join(member, group)),
            3 => place().prop_map(|(member, group)| Move::Leave(member, group)),
            1 => (1..12_000u64).prop_map(Move::Wait),
        ],
        1..40,
    )
}

/// Members come and go quickly. After each move, a message of a process without connections reaches
/// exactly the members of the model, and a node has the subscriptions that it needs.
pub async fn members_get_what_the_model_says<B: Bus>() {
    for moves in generate(40, moves()) {
        let bus = B::start();
        let mut nodes = nodes(&bus, 3).await;
        let mut members = Vec::new();
        for member in 0..4 {
            members.push(nodes[member % 2].member(&[]).await);
        }
        let mut model: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (number, step) in moves.iter().enumerate() {
            match *step {
                Move::Join(member, group) => {
                    nodes[member % 2].groups.join(NAMES[group], members[member].0).unwrap();
                    model.insert((member, group));
                }
                Move::Leave(member, group) => {
                    let was_in = nodes[member % 2].groups.leave(NAMES[group], members[member].0);
                    assert_eq!(was_in, model.remove(&(member, group)));
                }
                Move::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            }
            NAMES.iter().for_each(|name| nodes[2].groups.write(name, format!("{name} {number}")));
            for (member, (connection, peer)) in members.iter_mut().enumerate() {
                let groups = model.iter().filter(|(other, _)| *other == member).map(|(_, group)| NAMES[*group]);
                let expected: Vec<_> = groups.map(|name| format!("{name} {number}")).collect();
                assert_eq!(received(peer, *connection).await, expected, "step {number} of {moves:?}");
            }
        }
        sleep(Duration::from_secs(11)).await;
        for (number, node) in nodes[..2].iter().enumerate() {
            let groups = model.iter().filter(|(member, _)| member % 2 == number).map(|(_, group)| NAMES[*group]);
            let needed: Vec<_> = groups.collect::<BTreeSet<_>>().into_iter().collect();
            assert_eq!(node.backplane.subscriptions(), needed, "{moves:?}");
            assert_eq!((node.stats().lost, node.stats().repeated, node.stats().refused), (0, 0, 0), "{moves:?}");
        }
    }
}
