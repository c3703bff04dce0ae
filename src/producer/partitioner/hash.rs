//! The hashes of keys that Kafka's clients agree on.
//!
//! `murmur2` is the Java producer's, `crc32` librdkafka's, `fnv1a` Sarama's. Each gives a number
//! that is taken modulo the partitions; how the sign is dropped differs, and is part of the hash.

/// CRC-32 as in zlib, over the whole range of `u32`.
pub(super) fn crc32(key: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(key);
    crc.sum()
}

/// 32-bit MurmurHash2 with Kafka's seed, the sign bit cleared.
pub(super) fn murmur2(key: &[u8]) -> u32 {
    murmur2_signed(key) & 0x7fff_ffff
}

/// 32-bit FNV-1a, read as a signed number without its sign.
///
/// Sarama has no positive number for the smallest of them, and so lets it be 2^31.
pub(super) fn fnv1a(key: &[u8]) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = key.iter().fold(OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME));
    hash.cast_signed().unsigned_abs()
}

fn murmur2_signed(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    #[expect(clippy::cast_possible_truncation, reason = "the hash is defined modulo 2^32")]
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four"));
        let mixed = word.wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> SHIFT)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "this is another string with more length to it perhaps";

    #[test]
    fn murmur2_and_fnv1a_match_the_vectors_of_librdkafka() {
        let preamble = "PreAmbleWillBeRemoved,ThePrePartThatIs";
        for (key, murmur, fnv) in [
            ("kafka", 0xd067_cf64, 0x0d33_c4e1),
            ("giberish123456789", 0x8f55_2b0c, 0x77a5_8295),
            ("1234", 0x9fc9_7b14, 0x023b_dd03),
            ("234", 0xe7c0_09ca, 0x2dea_3cd2),
            ("34", 0x8739_30da, 0x740f_a83e),
            ("4", 0x5a4b_5ca1, 0x310c_a263),
            (preamble, 0x7842_4f1c, 0x65cb_d69c),
            (&preamble[1..], 0x4a62_b377, 0x6e49_c79a),
            (&preamble[2..], 0xe0e4_e09e, 0x69ee_d356),
            (&preamble[3..], 0x62b8_b43f, 0x6abc_c023),
            ("", 0x106e_08d9, 0x7ee3_623b),
        ] {
            assert_eq!(murmur2_signed(key.as_bytes()), murmur, "{key}");
            assert_eq!(murmur2(key.as_bytes()), murmur & 0x7fff_ffff, "{key}");
            assert_eq!(fnv1a(key.as_bytes()), fnv, "{key}");
        }
    }

    #[test]
    fn all_three_match_the_table_of_librdkafkas_partitioner_test() {
        for (key, crc, murmur, fnv) in [
            ("", 0, 0x106e_08d9, 0x7ee3_623b),
            ("23456", 0xb1b4_51d7, 0x058d_780f, 0x27e6_f469),
            (LONG, 0xb015_0df7, 0x4f77_03da, 0x155e_3e5f),
            ("hejsan", 0xd077_037e, 0x5ec1_9395, 0x17b1_e27a),
        ] {
            let key = key.as_bytes();
            assert_eq!((crc32(key), murmur2(key), fnv1a(key)), (crc, murmur, fnv), "{key:?}");
        }
    }

    #[test]
    fn keys_go_where_the_other_clients_put_them() {
        for (key, crc, murmur, fnv) in [
            ("", [0, 0], [2, 11], [2, 0]),
            ("23456", [5, 7], [5, 9], [5, 6]),
            (LONG, [6, 15], [1, 11], [6, 0]),
            ("hejsan", [3, 14], [6, 5], [3, 4]),
            ("kafka", [6, 11], [3, 14], [4, 9]),
        ] {
            let key = key.as_bytes();
            let of = |hash: u32| [hash % 7, hash % 17];
            assert_eq!((of(crc32(key)), of(murmur2(key)), of(fnv1a(key))), (crc, murmur, fnv));
        }
    }
}
