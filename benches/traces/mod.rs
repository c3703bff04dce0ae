//! LLM traces to measure with: the same ones in each run, about 1 KB of JSON each.
//!
//! How well they compress decides what the codecs cost, so they repeat what real traces repeat
//! (field names, models, common words) and vary what real traces vary (ids, times, token counts,
//! the conversation). Words come from a made-up vocabulary: a few are common, most are rare.

use serde_json::{Value, json};

const WORDS_PER_MESSAGE: usize = 22;
const VOCABULARY_SIZE: usize = 3_000;

const SYLLABLES: [&str; 32] = [
    "al", "an", "ar", "be", "con", "de", "en", "er", "es", "for", "ge", "ha", "in", "ing", "is",
    "la", "le", "ment", "mi", "no", "or", "per", "pro", "re", "ri", "se", "ta", "te", "ter",
    "tion", "un", "ver",
];

const MODELS: [(&str, &str); 5] = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("bedrock", "us.meta.llama3-3-70b-instruct-v1:0"),
];

/// A trace: its id, which is its key, and itself as JSON.
#[derive(Clone)]
pub(crate) struct Trace {
    pub(crate) id: String,
    pub(crate) json: String,
}

/// A source of traces.
pub(crate) struct Traces {
    random: SplitMix,
    words: Vec<String>,
    started_at: u64,
}

impl Traces {
    /// The source of the sequence with this number.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let words = (0..VOCABULARY_SIZE).map(|_| word(&mut random)).collect();
        Self { random, words, started_at: 1_700_000_000_000 }
    }

    /// The next trace, some 1,000 bytes.
    pub(crate) fn next_trace(&mut self) -> Trace {
        let random = &mut self.random;
        let id = format!("{:016x}{:016x}", random.next(), random.next());
        let span_id = random.next();
        let (provider, model) = MODELS[random.index(MODELS.len())];
        self.started_at += random.below(40);
        let latency = 200 + random.below(9_000);
        let (prompt, completion) = (40 + random.below(900), 10 + random.below(600));
        let input = ["user", "assistant", "user"].map(|role| self.message(role));
        let json = json!({
            "trace_id": id,
            "span_id": format!("{span_id:016x}"),
            "request_type": "chat_completion",
            "provider": provider,
            "model": model,
            "start_time_unix_ms": self.started_at,
            "latency_ms": latency,
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
            "status": "ok",
            "stream": false,
            "input": input,
            "output": self.message("assistant"),
        });
        Trace { id, json: json.to_string() }
    }

    fn message(&mut self, role: &str) -> Value {
        let Self { random, words, .. } = self;
        let content: Vec<_> = (0..WORDS_PER_MESSAGE).map(|_| common_word(random, words)).collect();
        json!({"role": role, "content": content.join(" ")})
    }
}

/// Of three draws the least, so that the front of the vocabulary comes up most often.
fn common_word<'a>(random: &mut SplitMix, words: &'a [String]) -> &'a str {
    let draws = [(); 3].map(|()| random.index(words.len()));
    &words[draws.into_iter().min().expect("three draws")]
}

fn word(random: &mut SplitMix) -> String {
    (0..1 + random.below(4)).map(|_| SYLLABLES[random.index(SYLLABLES.len())]).collect()
}

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }
}
