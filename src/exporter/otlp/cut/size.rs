//! Filling pieces up to a size.
//!
//! Decides where a piece ends. Items are taken in order, and each goes into the open piece as long
//! as that stays within `size_max`, with the envelopes of its resource and scope and the growth of
//! every length before them counted in; so a piece is as full as the next item lets it be. A metric
//! that is too large alone is cut into its data points, each under a copy of the metric's envelope
//! (name, description, unit, temporality and all). Any other item that is too large alone is
//! shortened, put aside for a dead-letter topic or left out, and reported in each case.
//!
//! Sizes are added up, nothing is written; what each part adds is told by a [`Measure`].

use super::index::{DEPTH_MAX, Expands, Extent, Index, Leaf, ROOT, SIZE_MAX};
use super::key::Key;
use super::level::Level;
use super::measure::Measure;
use super::truncate::{removable, start_of_text, truncate};
use crate::exporter::otlp::protobuf::{nested_size, well_formed};
use crate::exporter::otlp::schema::Signal;

/// Bytes of a reported name that are kept.
const NAME_SIZE_MAX: usize = 128;

/// Bytes that the marker of a shortened item adds in either format, at most.
const MARKER_ROOM: usize = 80;

/// How closely is searched for the least that must go, where sizes are those of JSON.
const SEARCH_PARTS: usize = 4_096;

/// How large records may be, and what becomes of items that are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most that one record's value may have, in bytes of its format.
    pub size_max: usize,
    /// The most that may be written for one request, in bytes of protobuf, at most 2 GiB. Envelopes
    /// are repeated in every piece: without a bound, one request of a few megabytes with a large
    /// resource and many small spans would become many gigabytes. It bounds the work of finding
    /// keys and of shortening items in the same way.
    pub written_max: usize,
    /// Shorten an item that is too large alone, if that can make it fit.
    pub truncate: bool,
    /// What becomes of an item that is too large, and not shortened.
    pub otherwise: Otherwise,
}

/// What becomes of an item that no record can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It is given out as a piece apart, larger than the limit.
    DeadLetter,
    /// It is only reported.
    Drop,
}

/// An item that was too large for a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    /// What it is.
    pub signal: Signal,
    /// Where in the request it stood.
    pub path: Path,
    /// Its name, or the first bytes of it; a log record's event name.
    pub name: String,
    /// Spans, log records or data points that it counts for.
    pub items: u32,
    /// The bytes of the item in the record's format; of a data point, without its metric.
    pub item_size: usize,
    /// The bytes that a record with this item alone would have had.
    pub record_size: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// Places among siblings, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Among the request's resources.
    pub resource: u32,
    /// Among the resource's scopes.
    pub scope: u32,
    /// Among the scope's spans, metrics or log records.
    pub item: u32,
    /// Among the metric's data points.
    pub point: Option<u32>,
}

/// What became of an item that was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was shortened, and a record with it alone would have this many bytes.
    Truncated {
        /// Bytes in the record's format.
        record_size: usize,
    },
    /// It is among the dead letters.
    DeadLetter,
    /// It is in no piece.
    Dropped,
}

/// A step in writing a piece.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A container begins: its tag, this length, its envelope.
    Open { node: u32, size: u32 },
    /// Items that lie side by side.
    Copy(Extent),
}

/// A piece that has not been written yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) key: Key,
    pub(super) topic: Option<u32>,
    pub(super) items: u32,
    pub(super) size: usize,
    /// Its steps: `steps[first..last]`.
    pub(super) steps: (usize, usize),
}

/// What filling gives.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) steps: Vec<Step>,
    pub(super) pieces: Vec<Planned>,
    pub(super) dead_letters: Vec<Planned>,
    pub(super) oversized: Vec<Oversized>,
    /// The bytes of all pieces and dead letters.
    pub(super) size: usize,
}

/// A container that the open piece has begun.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: u32,
    /// Where its [`Step::Open`] waits for its size.
    step: usize,
    /// Its content so far in protobuf, without containers that are still open.
    size: usize,
    /// The same in the format of the records.
    measured: usize,
}

/// An item that fits now.
#[derive(Debug, Clone, Copy)]
struct Shortened {
    leaf: Leaf,
    /// The size of a record with it alone.
    record_size: usize,
}

/// Fills pieces with items.
#[derive(Debug)]
pub(super) struct Packer<'a, M> {
    index: &'a mut Index,
    measure: &'a mut M,
    limits: Limits,
    /// Measured envelopes, by node.
    envelopes: Vec<Option<usize>>,
    /// The open piece; its frames begin with the root's.
    open: Planned,
    frames: Vec<Frame>,
    dead: Vec<(Leaf, Planned)>,
    /// Bytes that may yet be copied while shortening items.
    copies_left: usize,
    /// The last metric that was asked for its name.
    named: Option<(u32, String)>,
    packed: Packed,
}

impl<'a, M: Measure> Packer<'a, M> {
    pub(super) fn new(index: &'a mut Index, measure: &'a mut M, limits: Limits) -> Self {
        Self {
            index,
            measure,
            limits,
            envelopes: Vec::new(),
            open: Planned { key: Key::None, topic: None, items: 0, size: 0, steps: (0, 0) },
            frames: Vec::with_capacity(DEPTH_MAX),
            dead: Vec::new(),
            copies_left: limits.written_max,
            named: None,
            packed: Packed::default(),
        }
    }

    /// Ends the open piece and begins one for other items.
    pub(super) fn begin(&mut self, key: Key, topic: Option<u32>) -> Result<(), Expands> {
        self.end_piece()?;
        (self.open.key, self.open.topic) = (key, topic);
        Ok(())
    }

    /// Adds an item, to the open piece or to a new one.
    pub(super) fn push(&mut self, leaf: &Leaf) -> Result<(), Expands> {
        let size = self.leaf_size(leaf);
        if self.add(leaf, size, self.limits.size_max) {
            return Ok(());
        }
        let record_size = self.size_alone(leaf, size);
        if record_size <= self.limits.size_max {
            self.end_piece()?;
            self.add(leaf, size, self.limits.size_max);
            return Ok(());
        }
        match self.index.expand(leaf) {
            Some(points) => points.iter().try_for_each(|point| self.push(point)),
            None => self.on_oversized(leaf, size, record_size),
        }
    }

    /// Ends the last piece, and makes those of the dead letters.
    pub(super) fn finish(mut self) -> Result<Packed, Expands> {
        self.end_piece()?;
        let pieces = std::mem::take(&mut self.packed.pieces);
        for (leaf, of) in std::mem::take(&mut self.dead) {
            (self.open.key, self.open.topic) = (of.key, of.topic);
            let size = self.leaf_size(&leaf);
            self.add(&leaf, size, usize::MAX);
            self.end_piece()?;
        }
        self.packed.dead_letters = std::mem::replace(&mut self.packed.pieces, pieces);
        Ok(self.packed)
    }

    fn leaf_size(&mut self, leaf: &Leaf) -> usize {
        let (whole, content) = (self.index.bytes(leaf.whole), self.index.bytes(leaf.content()));
        self.measure.leaf(leaf.level, whole, content)
    }

    fn envelope(&mut self, node: u32) -> usize {
        let place = node as usize;
        if self.envelopes.len() <= place {
            self.envelopes.resize(self.index.nodes.len(), None);
        }
        if let Some(size) = self.envelopes[place] {
            return size;
        }
        let (level, size) = (self.index.node(node).level, self.index.node(node).envelope_size);
        let size = self.measure.envelope(level, size as usize, self.index.envelope(node));
        self.envelopes[place] = Some(size);
        size
    }

    /// A leaf of this size with all the containers of `chain` around it.
    fn wrapped(&mut self, size: usize, chain: &[u32]) -> usize {
        chain.iter().rev().fold(size, |size, node| {
            let content = self.envelope(*node) + size;
            self.measure.nested(content)
        })
    }

    fn size_alone(&mut self, leaf: &Leaf, size: usize) -> usize {
        let (chain, length) = self.index.chain(leaf);
        self.envelope(ROOT) + self.wrapped(size, &chain[1..length])
    }

    /// Adds a leaf to the open piece unless that would become larger than `size_max`.
    fn add(&mut self, leaf: &Leaf, size: usize, size_max: usize) -> bool {
        if self.frames.is_empty() {
            self.open_container(ROOT);
        }
        let (chain, length) = self.index.chain(leaf);
        let chain = &chain[..length];
        let common = self.frames.iter().zip(chain).take_while(|(f, node)| f.node == **node).count();
        if self.size_with(size, &chain[common..], common) > size_max {
            return false;
        }
        self.close_down_to(common);
        chain[common..].iter().for_each(|node| self.open_container(*node));
        let innermost = self.frames.last_mut().expect("the root is open");
        innermost.size += leaf.whole.len();
        innermost.measured += size;
        match self.packed.steps.last_mut() {
            Some(Step::Copy(run)) if run.end == leaf.whole.start => run.end = leaf.whole.end,
            _ => self.packed.steps.push(Step::Copy(leaf.whole)),
        }
        self.open.items = self.open.items.saturating_add(leaf.items);
        true
    }

    /// The size of the open piece if the containers behind the first `common` were closed and a
    /// leaf added with those of `chain` around it.
    fn size_with(&mut self, size: usize, chain: &[u32], common: usize) -> usize {
        let added = self.wrapped(size, chain);
        let (open, closed) = self.frames.split_at(common);
        let nested = |inner, frame: &Frame| self.measure.nested(frame.measured + inner);
        let closed = closed.iter().rev().fold(0, nested);
        let (root, open) = open.split_first().expect("the root is common to all");
        match open.split_last() {
            Some((innermost, between)) => {
                let innermost = self.measure.nested(innermost.measured + closed + added);
                root.measured + between.iter().rev().fold(innermost, nested)
            }
            None => root.measured + closed + added,
        }
    }

    fn open_container(&mut self, node: u32) {
        let step = self.packed.steps.len();
        self.packed.steps.push(Step::Open { node, size: 0 });
        let size = self.index.node(node).envelope_size as usize;
        let measured = self.envelope(node);
        self.frames.push(Frame { node, step, size, measured });
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.frames.len() > depth
            && let Some(closed) = self.frames.pop()
        {
            // What is larger than this is refused when the piece ends.
            let size = u32::try_from(closed.size).unwrap_or(u32::MAX);
            self.packed.steps[closed.step] = Step::Open { node: closed.node, size };
            if let Some(parent) = self.frames.last_mut() {
                parent.size += nested_size(closed.size);
                parent.measured += self.measure.nested(closed.measured);
            }
        }
    }

    fn end_piece(&mut self) -> Result<(), Expands> {
        self.close_down_to(1);
        let Some(root) = self.frames.pop() else { return Ok(()) };
        let steps = &mut self.packed.steps;
        // A piece whose first item was refused has begun, but holds nothing.
        if steps.len() > root.step + 1 {
            let piece = Planned { size: root.size, steps: (root.step, steps.len()), ..self.open };
            self.packed.pieces.push(piece);
            self.packed.size += root.size;
        } else {
            steps.truncate(root.step);
        }
        self.open.items = 0;
        self.written_at_most(self.packed.size)
    }

    fn written_at_most(&self, size: usize) -> Result<(), Expands> {
        if size > self.limits.written_max.min(SIZE_MAX) { Err(Expands) } else { Ok(()) }
    }

    fn on_oversized(
        &mut self,
        leaf: &Leaf,
        item_size: usize,
        record_size: usize,
    ) -> Result<(), Expands> {
        let mut report = self.report(leaf, item_size, record_size);
        let shortened = if self.limits.truncate { self.shorten(leaf, record_size)? } else { None };
        report.outcome = match (&shortened, self.limits.otherwise) {
            (Some(shortened), _) => Outcome::Truncated { record_size: shortened.record_size },
            (None, Otherwise::DeadLetter) => Outcome::DeadLetter,
            (None, Otherwise::Drop) => Outcome::Dropped,
        };
        if report.outcome == Outcome::DeadLetter {
            self.dead.push((*leaf, self.open));
        }
        self.packed.oversized.push(report);
        shortened.map_or(Ok(()), |shortened| self.push(&shortened.leaf))
    }

    /// The item without so much of its strings that it fits alone.
    fn shorten(&mut self, leaf: &Leaf, record_size: usize) -> Result<Option<Shortened>, Expands> {
        if !self.may_copy(self.index.size_with_metric(leaf)) {
            return Ok(None);
        }
        let (place, item) = match leaf.level {
            Level::Point(_) => self.index.metric_of_point(leaf),
            _ => (*leaf, self.index.bytes(leaf.content()).to_vec()),
        };
        // A byte of a string is at least one of the record. In JSON it may be several, so that it
        // may do to take all, or less, where there are not as many.
        let enough = record_size - self.limits.size_max + MARKER_ROOM;
        let all = removable(place.level, &item);
        let mut fitting = self.without(&place, &item, enough.min(all));
        let (mut too_little, mut taken) = (if enough > all { 0 } else { all }, all);
        while taken - too_little > 1 + all / SEARCH_PARTS && fitting.is_some() {
            if !self.may_copy(item.len()) {
                break;
            }
            let middle = too_little.midpoint(taken);
            match self.without(&place, &item, middle) {
                Some(more) => (fitting, taken) = (Some(more), middle),
                None => too_little = middle,
            }
        }
        let Some((content, record_size)) = fitting else { return Ok(None) };
        self.written_at_most(self.index.extra.len() + content.len() + MARKER_ROOM)?;
        Ok(Some(Shortened { leaf: self.index.replace(&place, &content), record_size }))
    }

    /// The item without these many bytes of its strings, and the size of a record with it alone,
    /// if that fits.
    fn without(&mut self, place: &Leaf, item: &[u8], remove: usize) -> Option<(Vec<u8>, usize)> {
        let content = truncate(place.level, item, remove)?;
        let mut whole = Vec::with_capacity(content.len() + MARKER_ROOM);
        self.index.put_leaf(place, &content, &mut whole);
        let size = self.measure.leaf(place.level, &whole, &content);
        let record_size = self.size_alone(place, size);
        (record_size <= self.limits.size_max).then_some((content, record_size))
    }

    /// Takes from what may be copied while shortening: a metric's envelope is copied for each of its
    /// data points that is too large, which could be many.
    fn may_copy(&mut self, size: usize) -> bool {
        let left = self.copies_left.checked_sub(size);
        self.copies_left = left.unwrap_or(0);
        left.is_some()
    }

    fn report(&mut self, leaf: &Leaf, item_size: usize, record_size: usize) -> Oversized {
        let (chain, length) = self.index.chain(leaf);
        let ordinals = chain.map(|node| self.index.node(node).ordinal);
        let (item, point, name) = match leaf.level {
            Level::Point(_) => (ordinals[3], Some(leaf.ordinal), self.metric(chain[length - 2])),
            level => (leaf.ordinal, None, name(level, self.index.bytes(leaf.content()))),
        };
        Oversized {
            signal: self.index.signal,
            path: Path { resource: ordinals[1], scope: ordinals[2], item, point },
            name,
            items: leaf.items,
            item_size,
            record_size,
            outcome: Outcome::Dropped,
        }
    }

    fn metric(&mut self, node: u32) -> String {
        match &self.named {
            Some((named, name)) if *named == node => name.clone(),
            _ => {
                let metric = self.index.node(node);
                let name = name(metric.level, self.index.bytes(metric.content));
                self.named = Some((node, name.clone()));
                name
            }
        }
    }
}

/// The name of an item, or the beginning of a long one.
fn name(level: Level, item: &[u8]) -> String {
    let of_field = |number| well_formed(item).filter_map(|field| field.bytes_of(number)).last();
    let name = level.name_field().and_then(of_field).unwrap_or_default();
    String::from_utf8_lossy(start_of_text(name, NAME_SIZE_MAX)).into_owned()
}
