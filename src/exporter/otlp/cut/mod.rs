//! From a request to pieces, each a request of its own.
//!
//! Decides what a record's value is. A request that needs no cutting is forwarded as received: the
//! same memory, byte for byte. Otherwise the bytes are cut along protobuf fields: every piece repeats
//! the envelopes of the resources and scopes its items are from, and copies the items, which are not
//! looked into. Nothing is decoded into structs and encoded again. `group` says which items go
//! together, `size` where a piece is full; here pieces are written.
//!
//! Order is kept among items of one key. Resources and scopes without any item, and metrics without
//! a data point where they are cut by attributes of data points, carry nothing that could be lost:
//! the former are in no piece, the latter are keyed by their resource.
//!
//! The request is expected to have passed validation. Other bytes do no harm: containers that are
//! not protobuf are refused, items that are not are copied.

use bytes::{BufMut, Bytes, BytesMut};

mod group;
pub use group::By;

mod index;

mod key;
pub use key::{Key, KeyBuffer};

mod level;
pub use level::{Level, PointKind};

mod measure;
pub use measure::{Json, Measure, Protobuf};

mod size;
pub use size::{Limits, Otherwise, Outcome, Oversized, Path};

mod truncate;

use super::protobuf::{Fields, Flaw, put_head};
use super::schema::Signal;
use group::Groups;
use index::{Expands, Index, ROOT, SIZE_MAX, count};
use size::{Packed, Packer, Planned, Step};

/// Pieces are written into memory of this size, unless one is larger.
const CHUNK_SIZE: usize = 1 << 20;

/// Bytes that are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf field at byte {offset}")]
pub struct Malformed {
    /// Where the field began, counted from the start of the message it is in.
    pub offset: usize,
}

impl From<Flaw> for Malformed {
    fn from(flaw: Flaw) -> Self {
        Self { offset: flaw.offset }
    }
}

/// How requests of one signal are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan<'a> {
    /// What the requests carry.
    pub signal: Signal,
    /// Which items share a record.
    pub by: By<'a>,
    /// The resource attribute that names the topic, if one does; items of different topics are
    /// never in one record.
    pub topic_attribute: Option<&'a str>,
    /// How large a record may be.
    pub limits: Limits,
}

/// A request that cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// The request, a resource or a scope is not a protobuf message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request is larger than 2 GiB.
    #[error("request of {size} bytes, more than can be cut")]
    TooLarge {
        /// Bytes of the request.
        size: usize,
    },
    /// More would have to be written than [`Limits::written_max`], since large resources would be
    /// repeated for many small items.
    #[error("request of {size} bytes repeats its resources to more than {written_max} bytes")]
    Expands {
        /// Bytes of the request.
        size: usize,
        /// The limit.
        written_max: usize,
    },
}

/// The value of one record, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The record's key.
    pub key: Key,
    /// The topic that the resources of its items name.
    pub topic: Option<&'a str>,
    /// Spans, log records or data points in it.
    pub items: u32,
    /// A request of the same kind, in protobuf.
    pub value: Bytes,
}

/// A request that has been cut. Its pieces are written when they are taken.
#[derive(Debug)]
pub struct Cut {
    topics: Vec<Bytes>,
    content: Content,
    oversized: Vec<Oversized>,
}

#[derive(Debug)]
enum Content {
    /// No items.
    Nothing,
    /// The request as it is.
    Whole {
        request: Bytes,
        key: Key,
        topic: Option<u32>,
        items: u32,
    },
    Pieces {
        index: Index,
        packed: Packed,
    },
}

/// Cuts a request.
///
/// # Errors
///
/// [`CutError`], for a request that is malformed or too large, or would become so.
pub fn cut<M: Measure>(request: &Bytes, plan: &Plan<'_>, measure: &mut M) -> Result<Cut, CutError> {
    let size = request.len();
    if size > SIZE_MAX {
        return Err(CutError::TooLarge { size });
    }
    let may_be_whole = measure.whole(size).is_some_and(|size| size <= plan.limits.size_max);
    if may_be_whole && plan.by == By::Request && plan.topic_attribute.is_none() {
        let mut tally = Tally::default();
        tally.add(Level::Request(plan.signal), request)?;
        return Ok(Cut::whole(request, tally));
    }
    let mut index = Index::new(request.clone(), plan.signal)?;
    let expands = |_| CutError::Expands { size, written_max: plan.limits.written_max };
    let Plan { by, topic_attribute, limits, .. } = *plan;
    let groups =
        group::group(&mut index, by, topic_attribute, limits.written_max).map_err(expands)?;
    let mut packed = pack(&mut index, &groups, limits, measure).map_err(expands)?;
    let oversized = std::mem::take(&mut packed.oversized);
    let content = match packed.pieces[..] {
        [Planned { key, topic, items, .. }] if may_be_whole && oversized.is_empty() => {
            Content::Whole { request: request.clone(), key, topic, items }
        }
        _ => Content::Pieces { index, packed },
    };
    Ok(Cut { topics: groups.topics, content, oversized })
}

fn pack<M: Measure>(
    index: &mut Index,
    groups: &Groups,
    limits: Limits,
    measure: &mut M,
) -> Result<Packed, Expands> {
    let mut packer = Packer::new(index, measure, limits);
    let mut start = 0;
    for (group, end) in groups.groups.iter().zip(&groups.ends) {
        packer.begin(group.key, group.topic)?;
        groups.leaves[start..*end].iter().try_for_each(|leaf| packer.push(leaf))?;
        start = *end;
    }
    packer.finish()
}

impl Cut {
    fn whole(request: &Bytes, tally: Tally) -> Self {
        let content = if tally.leaves == 0 {
            Content::Nothing
        } else {
            let (request, items) = (request.clone(), tally.items);
            Content::Whole { request, key: Key::None, topic: None, items }
        };
        Self { topics: Vec::new(), content, oversized: Vec::new() }
    }

    /// The pieces, in the order of their first items.
    pub fn pieces(&self) -> Pieces<'_> {
        match &self.content {
            Content::Nothing => Pieces(Left::Whole(None)),
            Content::Whole { request, key, topic, items } => {
                let (topic, value) = (self.topic(*topic), request.clone());
                Pieces(Left::Whole(Some(Piece { key: *key, topic, items: *items, value })))
            }
            Content::Pieces { index, packed } => {
                Pieces(Left::Cut(Writer::new(self, index, &packed.steps, &packed.pieces)))
            }
        }
    }

    /// Items that are too large for a record, each in a request of its own.
    pub fn dead_letters(&self) -> Pieces<'_> {
        match &self.content {
            Content::Nothing | Content::Whole { .. } => Pieces(Left::Whole(None)),
            Content::Pieces { index, packed } => {
                Pieces(Left::Cut(Writer::new(self, index, &packed.steps, &packed.dead_letters)))
            }
        }
    }

    /// Items that were too large, and what became of them.
    pub fn oversized(&self) -> &[Oversized] {
        &self.oversized
    }

    /// Bytes of all pieces and dead letters, in protobuf.
    pub const fn size(&self) -> usize {
        match &self.content {
            Content::Nothing => 0,
            Content::Whole { request, .. } => request.len(),
            Content::Pieces { packed, .. } => packed.size,
        }
    }

    fn topic(&self, topic: Option<u32>) -> Option<&str> {
        std::str::from_utf8(&self.topics[topic? as usize]).ok()
    }
}

/// Pieces, written as they are taken.
#[derive(Debug)]
pub struct Pieces<'a>(Left<'a>);

#[derive(Debug)]
enum Left<'a> {
    /// At most the one that is the request.
    Whole(Option<Piece<'a>>),
    /// Those that were cut.
    Cut(Writer<'a>),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Left::Whole(piece) => piece.take(),
            Left::Cut(writer) => writer.next_piece(),
        }
    }
}

#[derive(Debug)]
struct Writer<'a> {
    cut: &'a Cut,
    index: &'a Index,
    steps: &'a [Step],
    pieces: std::slice::Iter<'a, Planned>,
    /// Bytes of the pieces that are left.
    left: usize,
    /// Memory for the next ones; many share it.
    chunk: BytesMut,
}

impl<'a> Writer<'a> {
    fn new(cut: &'a Cut, index: &'a Index, steps: &'a [Step], pieces: &'a [Planned]) -> Self {
        let left = pieces.iter().map(|piece| piece.size).sum();
        Self { cut, index, steps, pieces: pieces.iter(), left, chunk: BytesMut::new() }
    }

    fn next_piece(&mut self) -> Option<Piece<'a>> {
        let Planned { key, topic, items, size, steps } = *self.pieces.next()?;
        if self.chunk.capacity() < size {
            self.chunk = BytesMut::with_capacity(size.max(self.left.min(CHUNK_SIZE)));
        }
        self.left -= size;
        for step in &self.steps[steps.0..steps.1] {
            match *step {
                Step::Copy(extent) => self.chunk.put_slice(self.index.bytes(extent)),
                Step::Open { node, size } => self.open(node, size as usize),
            }
        }
        debug_assert_eq!(self.chunk.len(), size, "sizes are known before writing");
        let value = self.chunk.split().freeze();
        Some(Piece { key, topic: self.cut.topic(topic), items, value })
    }

    fn open(&mut self, node: u32, size: usize) {
        if node != ROOT {
            let parent = self.index.node(self.index.node(node).parent);
            let (number, _) = parent.level.child().expect("a container's parent has children");
            put_head(&mut self.chunk, number, size);
        }
        self.index.envelope(node).for_each(|part| self.chunk.put_slice(part));
    }
}

/// What is in a request.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    leaves: usize,
    items: u32,
}

impl Tally {
    fn add(&mut self, level: Level, bytes: &[u8]) -> Result<(), Malformed> {
        let Some((number, child)) = level.child() else {
            self.leaves += 1;
            self.items = self.items.saturating_add(count(level, bytes));
            return Ok(());
        };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next().map_err(Malformed::from)? {
            if let Some(bytes) = field.bytes_of(number) {
                self.add(child, bytes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
