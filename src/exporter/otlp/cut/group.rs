//! Which items go into records together.
//!
//! Decides a key and a topic for every item, and gathers those that agree in both. Groups stand in
//! the order of their first items, and items of a group in the order of the request. Nothing is
//! copied: a group is a list of places.

use std::collections::HashMap;

use bytes::Bytes;

use super::index::{Expands, Index, Leaf, as_u32};
use super::key::{Attribute, Key, MapHash, attributes};
use crate::exporter::otlp::schema::Signal;

/// What makes a record of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By<'a> {
    /// Nothing: the request is one record. No key.
    Request,
    /// Each `Resource*` of the request, as it stands there. Keyed by all the resource's attributes.
    Resource,
    /// Each trace id, of spans and of log records, from whatever resources and scopes. Keyed by it.
    /// Items without one are together, without a key; so is all of a request of metrics.
    TraceId,
    /// Each combination of values of the attributes with these names, looked for in the resource
    /// and then in the span, log record or data point. Keyed by them.
    Attributes(&'a [String]),
}

/// Items that share a key and a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) key: Key,
    /// In [`Groups::topics`].
    pub(super) topic: Option<u32>,
    /// The one resource that it is of, where each has a record of its own.
    resource: Option<u32>,
}

/// All items, by group.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) topics: Vec<Bytes>,
    pub(super) groups: Vec<Group>,
    /// Sorted by group.
    pub(super) leaves: Vec<Leaf>,
    /// Where the groups end in `leaves`.
    pub(super) ends: Vec<usize>,
}

/// Sorts the items of a request, hashing at most `hashed_max` bytes of resources again and again.
pub(super) fn group(
    index: &mut Index,
    by: By<'_>,
    topic_attribute: Option<&str>,
    hashed_max: usize,
) -> Result<Groups, Expands> {
    let mut sorter = Sorter::new(index, by, topic_attribute, hashed_max);
    let leaves = sorter.leaves(index);
    let mut groups = Vec::new();
    let mut places = HashMap::new();
    let mut placed = Vec::with_capacity(leaves.len());
    let mut last = None;
    for leaf in &leaves {
        let group = sorter.group(index, leaf)?;
        // Neighbours are mostly of one group.
        let place = match last {
            Some((of, place)) if of == group => place,
            _ => *places.entry(group).or_insert_with(|| {
                groups.push(group);
                groups.len() - 1
            }),
        };
        last = Some((group, place));
        placed.push(place);
    }
    let (leaves, ends) = sorted(leaves, &placed, groups.len());
    Ok(Groups { topics: sorter.topics, groups, leaves, ends })
}

/// The leaves in the order of their places, otherwise as they were, and where each place ends.
fn sorted(leaves: Vec<Leaf>, placed: &[usize], places: usize) -> (Vec<Leaf>, Vec<usize>) {
    let mut ends = vec![0; places];
    placed.iter().for_each(|place| ends[*place] += 1);
    let mut start = 0;
    for end in &mut ends {
        // For now where the next leaf of the place goes, which ends at its end.
        start += std::mem::replace(end, start);
    }
    if placed.is_sorted() {
        placed.iter().for_each(|place| ends[*place] += 1);
        return (leaves, ends);
    }
    let mut sorted = leaves.clone();
    for (leaf, place) in leaves.into_iter().zip(placed) {
        sorted[ends[*place]] = leaf;
        ends[*place] += 1;
    }
    (sorted, ends)
}

/// What a resource says of its items' groups.
#[derive(Debug)]
struct Facts {
    topic: Option<u32>,
    /// The key of items that have none of their own.
    key: Key,
    /// The attributes asked for, in the order of their names in the configuration.
    found: Vec<Option<Bytes>>,
    /// Bytes of those found.
    found_size: usize,
}

impl Facts {
    /// Whether there is nothing left to look for in an item.
    fn is_complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }
}

/// Finds the group of each item.
#[derive(Debug)]
struct Sorter<'a> {
    by: By<'a>,
    /// By resource; empty if nothing is asked of resources.
    facts: Vec<Facts>,
    topics: Vec<Bytes>,
    hash: MapHash,
    /// Bytes of resources that may yet be hashed for items.
    hashed_left: usize,
}

impl<'a> Sorter<'a> {
    fn new(index: &Index, by: By<'a>, topic_attribute: Option<&str>, hashed_left: usize) -> Self {
        let (facts, topics, hash) = (Vec::new(), Vec::new(), MapHash::default());
        let mut sorter = Self { by, facts, topics, hash, hashed_left };
        if topic_attribute.is_none() && matches!(by, By::Request | By::TraceId) {
            return sorter;
        }
        let mut topics = HashMap::new();
        for resource in index.resources() {
            let topic = topic_attribute
                .and_then(|name| topic(index, resource, name))
                .map(|topic| *topics.entry(topic).or_insert_with_key(|topic| sorter.add(topic)));
            let found = sorter.found(index, resource);
            let key = match by {
                By::Resource => Key::Hash(sorter.hash.hash(index.resource_attributes(resource))),
                By::Attributes(names) => chosen(&mut sorter.hash, names, &found, None),
                By::Request | By::TraceId => Key::None,
            };
            let found_size = found.iter().flatten().map(Bytes::len).sum();
            sorter.facts.push(Facts { topic, key, found, found_size });
        }
        sorter
    }

    fn add(&mut self, topic: &Bytes) -> u32 {
        self.topics.push(topic.clone());
        as_u32(self.topics.len() - 1)
    }

    fn found(&self, index: &Index, resource: u32) -> Vec<Option<Bytes>> {
        let By::Attributes(names) = self.by else { return Vec::new() };
        let mut found = vec![None; names.len()];
        for attribute in index.resource_attributes(resource) {
            for (name, found) in names.iter().zip(&mut found) {
                if found.is_none() && name.as_bytes() == attribute.name {
                    *found = Some(index.request.slice_ref(attribute.pair));
                }
            }
        }
        found
    }

    /// The items to sort: of a metric whose resource does not tell its key, the data points.
    fn leaves(&self, index: &mut Index) -> Vec<Leaf> {
        let leaves = std::mem::take(&mut index.leaves);
        let by_point = matches!(self.by, By::Attributes(_)) && index.signal == Signal::Metrics;
        if !by_point || self.facts.iter().all(Facts::is_complete) {
            return leaves;
        }
        let mut points = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let complete = self.facts_of(index, &leaf).is_none_or(Facts::is_complete);
            match if complete { None } else { index.expand(&leaf) } {
                Some(expanded) => points.extend(expanded),
                None => points.push(leaf),
            }
        }
        points
    }

    fn facts_of(&self, index: &Index, leaf: &Leaf) -> Option<&Facts> {
        // Resources follow the root among the nodes.
        self.facts.get(index.resource_of(leaf) as usize - 1)
    }

    fn group(&mut self, index: &Index, leaf: &Leaf) -> Result<Group, Expands> {
        let resource = index.resource_of(leaf);
        let facts = self.facts.get(resource as usize - 1);
        let content = index.bytes(leaf.content());
        let trace_id = index.signal.trace_id_field();
        let key = match (self.by, facts) {
            (By::TraceId, _) => trace_id.map_or(Key::None, |number| Key::of_trace(content, number)),
            (By::Attributes(names), Some(facts)) if !facts.is_complete() => {
                self.hashed_left = self.hashed_left.checked_sub(facts.found_size).ok_or(Expands)?;
                let item = leaf.level.attributes_field().map(|number| (content, number));
                chosen(&mut self.hash, names, &facts.found, item)
            }
            (_, facts) => facts.map_or(Key::None, |facts| facts.key),
        };
        let topic = facts.and_then(|facts| facts.topic);
        let resource = (self.by == By::Resource).then_some(resource);
        Ok(Group { key, topic, resource })
    }
}

/// The key of the attributes that were found in a resource, and else are in the field of an item.
fn chosen(
    hash: &mut MapHash,
    names: &[String],
    found: &[Option<Bytes>],
    item: Option<(&[u8], u32)>,
) -> Key {
    let mut chosen = Vec::with_capacity(names.len());
    for (name, found) in names.iter().zip(found) {
        let name = name.as_bytes();
        let of_item = |(item, number)| attributes(item, number).find(|a| a.name == name);
        match found {
            Some(pair) => chosen.push(Attribute { name, pair }),
            None => chosen.extend(item.and_then(of_item)),
        }
    }
    if chosen.is_empty() { Key::None } else { Key::Hash(hash.hash(chosen.into_iter())) }
}

/// The topic that a resource names.
fn topic(index: &Index, resource: u32, name: &str) -> Option<Bytes> {
    let named = index.resource_attributes(resource).find(|a| a.name == name.as_bytes())?;
    let text = named.text().filter(|text| !text.is_empty() && std::str::from_utf8(text).is_ok())?;
    Some(index.request.slice_ref(text))
}
