//! The size of a record by the sizes of its parts.
//!
//! Decides what items and the containers around them add to a record in its format. In protobuf that
//! is arithmetic over the request. In JSON only its writer knows how long a message becomes; what
//! stands between messages is known here.

use super::level::Level;
use crate::exporter::otlp::protobuf::nested_size;

/// Sizes in the format of the records.
pub trait Measure {
    /// The size of a whole request of this many bytes, where that is known without looking at it.
    fn whole(&self, request_size: usize) -> Option<usize>;

    /// What a container adds to its children: `size` bytes of protobuf in `parts` are its fields.
    fn envelope<'a>(
        &mut self,
        level: Level,
        size: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> usize;

    /// What an item or data point adds to its container: `whole` is its field in the container,
    /// `content` its own bytes.
    fn leaf(&mut self, level: Level, whole: &[u8], content: &[u8]) -> usize;

    /// What a container of this size adds to the one that it is in.
    fn nested(&self, size: usize) -> usize;
}

/// Records are protobuf: all sizes are known from the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protobuf;

impl Measure for Protobuf {
    fn whole(&self, request_size: usize) -> Option<usize> {
        Some(request_size)
    }

    fn envelope<'a>(&mut self, _: Level, size: usize, _: impl Iterator<Item = &'a [u8]>) -> usize {
        size
    }

    fn leaf(&mut self, _: Level, whole: &[u8], _: &[u8]) -> usize {
        whole.len()
    }

    fn nested(&self, size: usize) -> usize {
        nested_size(size)
    }
}

/// Records are JSON: `length` writes a message, given as protobuf, and says how long it is. Every
/// item is written once for that, and once more in its piece. Where most pieces are far below the
/// limit it is cheaper to cut without one, and to cut again what came out too long: a piece is a
/// request.
///
/// `length` gets the whole of an item or data point, and containers without the field that holds
/// their children ([`Level`] says which), and must write that as a JSON object without spaces.
#[derive(Debug, Default)]
pub struct Json<F> {
    length: F,
    scratch: Vec<u8>,
}

impl<F: FnMut(Level, &[u8]) -> usize> Json<F> {
    /// Measures by `length`.
    pub const fn new(length: F) -> Self {
        Self { length, scratch: Vec::new() }
    }
}

impl<F: FnMut(Level, &[u8]) -> usize> Measure for Json<F> {
    fn whole(&self, _: usize) -> Option<usize> {
        None
    }

    fn envelope<'a>(
        &mut self,
        level: Level,
        _: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> usize {
        self.scratch.clear();
        parts.for_each(|part| self.scratch.extend(part));
        let own = (self.length)(level, &self.scratch);
        let name = r#""":"#.len() + level.child_name().len();
        let brackets = if matches!(level, Level::Metric(_)) { 0 } else { "[]".len() };
        let comma = usize::from(own > "{}".len());
        // Children come with a comma each, which the last one does not need.
        own + comma + name + brackets - 1
    }

    fn leaf(&mut self, level: Level, _: &[u8], content: &[u8]) -> usize {
        (self.length)(level, content) + 1
    }

    fn nested(&self, size: usize) -> usize {
        size + 1
    }
}
