//! An index of a request: where its resources, scopes and items lie.
//!
//! Decides nothing: it is built in one pass over the containers' fields, level by level, and never
//! looks into an item, except to count a metric's data points. A container's *envelope* is all of
//! its fields but those that hold its children; the envelope's bytes are kept as they came, unknown
//! fields included, in their order. A container without children is in the index but in no piece.
//!
//! Positions are 32 bits wide. Bytes that were made while cutting (items that had to be shortened)
//! lie behind the request's end, so that one range names either.

use bytes::Bytes;

use super::Malformed;
use super::key::{Attribute, attributes};
use super::level::{Level, PointKind};
use crate::exporter::otlp::protobuf::{Entry, Fields, nested_size, put_head, well_formed};
use crate::exporter::otlp::schema::Signal;

/// The largest request, and the most that may be written for one.
pub(super) const SIZE_MAX: usize = (u32::MAX / 2) as usize;

/// The index of the request in [`Index::nodes`].
pub(super) const ROOT: u32 = 0;

/// Containers above a leaf: request, resource, scope, metric, data.
pub(super) const DEPTH_MAX: usize = 5;

/// What containers repeat would be more than the caller allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expands;

/// A range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Extent {
    pub(super) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A container: a message that holds items, at whatever depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) level: Level,
    /// The root is its own parent.
    pub(super) parent: u32,
    /// Its place among its parent's children.
    pub(super) ordinal: u32,
    pub(super) depth: u8,
    pub(super) content: Extent,
    /// Its envelope: `parts[first..last]`.
    parts: (u32, u32),
    pub(super) envelope_size: u32,
}

/// What is never cut: an item, or a metric's data point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) level: Level,
    pub(super) parent: u32,
    /// Its place among its parent's children.
    pub(super) ordinal: u32,
    /// The field in its parent, with tag and length.
    pub(super) whole: Extent,
    pub(super) content_start: u32,
    /// Spans, log records or data points in it.
    pub(super) items: u32,
}

impl Leaf {
    pub(super) const fn content(&self) -> Extent {
        Extent { start: self.content_start, end: self.whole.end }
    }
}

/// A request and where everything in it lies.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) signal: Signal,
    pub(super) request: Bytes,
    /// What stands behind the request's end.
    pub(super) extra: Vec<u8>,
    pub(super) nodes: Vec<Node>,
    /// In the order of the request.
    pub(super) leaves: Vec<Leaf>,
    parts: Vec<Extent>,
}

impl Index {
    /// Builds the index of a request, which is not larger than [`SIZE_MAX`].
    pub(super) fn new(request: Bytes, signal: Signal) -> Result<Self, Malformed> {
        let root = Node {
            level: Level::Request(signal),
            parent: ROOT,
            ordinal: 0,
            depth: 0,
            content: extent(0, request.len()),
            parts: (0, 0),
            envelope_size: 0,
        };
        let (extra, leaves, parts) = (Vec::new(), Vec::new(), Vec::new());
        let mut index = Self { signal, request, extra, nodes: vec![root], leaves, parts };
        let mut next = ROOT;
        while (next as usize) < index.nodes.len() {
            let mut leaves = std::mem::take(&mut index.leaves);
            index.open(next, &mut leaves)?;
            index.leaves = leaves;
            next += 1;
        }
        Ok(index)
    }

    /// The bytes of a range.
    pub(super) fn bytes(&self, extent: Extent) -> &[u8] {
        let (start, end) = (extent.start as usize, extent.end as usize);
        match start.checked_sub(self.extra_start()) {
            Some(start) => &self.extra[start..end - self.extra_start()],
            None => &self.request[start..end],
        }
    }

    /// Where the bytes made while cutting begin: one byte behind the request, so that none of them
    /// is the neighbour of the last item.
    fn extra_start(&self) -> usize {
        self.request.len() + 1
    }

    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// The pieces of a container's envelope.
    pub(super) fn envelope(&self, node: u32) -> impl Iterator<Item = &[u8]> {
        let (first, last) = self.node(node).parts;
        self.parts[first as usize..last as usize].iter().map(|part| self.bytes(*part))
    }

    /// The containers of a leaf from the request down, and how many they are.
    pub(super) fn chain(&self, leaf: &Leaf) -> ([u32; DEPTH_MAX], usize) {
        let mut chain = [ROOT; DEPTH_MAX];
        let length = usize::from(self.node(leaf.parent).depth) + 1;
        let mut node = leaf.parent;
        for place in chain[..length].iter_mut().rev() {
            *place = node;
            node = self.node(node).parent;
        }
        (chain, length)
    }

    /// The request's resources, in its order: 1, 2 and so on.
    pub(super) fn resources(&self) -> impl Iterator<Item = u32> + use<> {
        1..as_u32(self.nodes.partition_point(|node| node.depth <= 1))
    }

    pub(super) fn resource_of(&self, leaf: &Leaf) -> u32 {
        let (chain, _) = self.chain(leaf);
        chain[1]
    }

    /// The attributes of the resource in a `Resource*` container.
    pub(super) fn resource_attributes(&self, resource: u32) -> impl Iterator<Item = Attribute<'_>> {
        self.envelope(resource)
            .flat_map(well_formed)
            .filter_map(|field| field.bytes_of(1))
            .flat_map(|level| attributes(level, 1))
    }

    /// A metric as containers, and its data points as leaves; `None` if it is not one kind of data
    /// with points in it.
    pub(super) fn expand(&mut self, metric: &Leaf) -> Option<Vec<Leaf>> {
        let kind = self.kind_of_data(metric)?;
        let before = (self.nodes.len(), self.parts.len());
        let (level, content) = (Level::Metric(kind), metric.content());
        let node = self.push_node(level, metric.parent, metric.ordinal, content);
        let mut points = Vec::with_capacity(metric.items as usize);
        let opened = self.open(node, &mut points).and_then(|()| self.open(node + 1, &mut points));
        if opened.is_err() || points.is_empty() {
            self.nodes.truncate(before.0);
            self.parts.truncate(before.1);
            return None;
        }
        Some(points)
    }

    /// The kind of a metric that has data exactly once.
    fn kind_of_data(&self, metric: &Leaf) -> Option<PointKind> {
        if metric.level != Level::Item(Signal::Metrics) {
            return None;
        }
        let mut data = well_formed(self.bytes(metric.content())).filter_map(data_of);
        let (kind, _) = data.next()?;
        data.next().is_none().then_some(kind)
    }

    /// Sorts a container's fields into its envelope and its children.
    fn open(&mut self, node: u32, leaves: &mut Vec<Leaf>) -> Result<(), Malformed> {
        let Node { level, content, .. } = *self.node(node);
        let (number, child) = level.child().expect("leaves are not nodes");
        let base = content.start as usize;
        let first_part = self.parts.len();
        let mut ordinal = 0;
        // A handle of its own, so that what is found can be added meanwhile.
        let request = self.request.clone();
        let mut fields = Fields::new(&request[base..content.end as usize]);
        while let Some(field) = fields.next().map_err(|flaw| Malformed::from(flaw.below(base)))? {
            let whole = extent(base + field.start, base + field.end);
            let Some(bytes) = field.bytes_of(number) else {
                self.push_part(first_part, whole);
                continue;
            };
            let content = Extent { start: whole.end - as_u32(bytes.len()), end: whole.end };
            if child.child().is_some() {
                self.push_node(child, node, ordinal, content);
            } else {
                let items = count(child, bytes);
                let (level, content_start) = (child, content.start);
                leaves.push(Leaf { level, parent: node, ordinal, whole, content_start, items });
            }
            ordinal += 1;
        }
        let parts = &self.parts[first_part..];
        let envelope_size = parts.iter().map(|part| part.len()).sum();
        let node = &mut self.nodes[node as usize];
        node.parts = (as_u32(first_part), as_u32(self.parts.len()));
        node.envelope_size = as_u32(envelope_size);
        Ok(())
    }

    /// Adds to an envelope that began at `first`; neighbours become one.
    fn push_part(&mut self, first: usize, part: Extent) {
        match self.parts[first..].last_mut() {
            Some(last) if last.end == part.start => last.end = part.end,
            _ => self.parts.push(part),
        }
    }

    fn push_node(&mut self, level: Level, parent: u32, ordinal: u32, content: Extent) -> u32 {
        let depth = self.node(parent).depth + 1;
        let (parts, envelope_size) = ((0, 0), 0);
        self.nodes.push(Node { level, parent, ordinal, depth, content, parts, envelope_size });
        as_u32(self.nodes.len() - 1)
    }

    /// A leaf that is the item `content`, made anew, in the place of `old`.
    pub(super) fn replace(&mut self, old: &Leaf, content: &[u8]) -> Leaf {
        let start = self.extra_start() + self.extra.len();
        let mut extra = std::mem::take(&mut self.extra);
        self.put_leaf(old, content, &mut extra);
        self.extra = extra;
        let whole = extent(start, self.extra_start() + self.extra.len());
        Leaf { whole, content_start: whole.end - as_u32(content.len()), ..*old }
    }

    /// Appends the item `content` as a field of the container of `place`.
    pub(super) fn put_leaf(&self, place: &Leaf, content: &[u8], out: &mut Vec<u8>) {
        let container = self.node(place.parent).level;
        let (number, _) = container.child().expect("a leaf's container has children");
        put_head(out, number, content.len());
        out.extend(content);
    }

    /// The bytes of an item, and of the metric around it if it is a data point.
    pub(super) fn size_with_metric(&self, leaf: &Leaf) -> usize {
        let envelopes = match leaf.level {
            Level::Point(_) => {
                let data = self.node(leaf.parent);
                data.envelope_size + self.node(data.parent).envelope_size
            }
            _ => 0,
        };
        envelopes as usize + leaf.whole.len()
    }

    /// The metric that has this data point and no other, and its place.
    pub(super) fn metric_of_point(&self, point: &Leaf) -> (Leaf, Vec<u8>) {
        let data = self.node(point.parent);
        let metric = self.node(data.parent);
        let (number, _) = metric.level.child().expect("a metric's child is its data");
        let size = data.envelope_size as usize + point.whole.len();
        let mut bytes = Vec::with_capacity(metric.envelope_size as usize + nested_size(size));
        self.envelope(data.parent).for_each(|part| bytes.extend(part));
        put_head(&mut bytes, number, size);
        self.envelope(point.parent).for_each(|part| bytes.extend(part));
        bytes.extend(self.bytes(point.whole));
        let leaf = Leaf {
            level: Level::Item(Signal::Metrics),
            parent: metric.parent,
            ordinal: metric.ordinal,
            ..*point
        };
        (leaf, bytes)
    }
}

/// The items that an item counts for.
pub(super) fn count(level: Level, item: &[u8]) -> u32 {
    if level != Level::Item(Signal::Metrics) {
        return 1;
    }
    let data = well_formed(item).filter_map(data_of);
    as_u32(data.flat_map(|(_, data)| well_formed(data)).filter(is_point).count())
}

fn data_of(field: Entry<'_>) -> Option<(PointKind, &[u8])> {
    let kind = PointKind::of_field(field.number)?;
    field.bytes_of(field.number).map(|data| (kind, data))
}

fn is_point(field: &Entry<'_>) -> bool {
    field.bytes_of(1).is_some()
}

fn extent(start: usize, end: usize) -> Extent {
    Extent { start: as_u32(start), end: as_u32(end) }
}

/// A position or size, of which the greatest is [`SIZE_MAX`] twice.
pub(super) fn as_u32(position: usize) -> u32 {
    u32::try_from(position).expect("a request and what is made of it stay within SIZE_MAX")
}
