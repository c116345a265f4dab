//! How a compression is said: as pg_dump takes it.
use pgsteward::backup::Compression;
use std::str::FromStr;

/// The level of gzip where none is said, as zlib has it.
const GZIP: u8 = 6;

/// `6`, `gzip:6`, `lz4`, `zstd:level=3,long`.
pub(super) fn compression(text: &str) -> Result<Compression, String> {
    let (method, detail) = text.split_once(':').map_or((text, None), |(method, detail)| (method, Some(detail)));
    match (method, detail) {
        ("none" | "0", None) => Ok(Compression::None),
        ("gzip", None) => Ok(Compression::Gzip(GZIP)),
        ("gzip", Some(detail)) => level(detail).map(Compression::Gzip),
        ("lz4", None) => Ok(Compression::Lz4(None)),
        ("lz4", Some(detail)) => level(detail).map(|level| Compression::Lz4(Some(level))),
        ("zstd", None) => Ok(Compression::Zstd(None)),
        ("zstd", Some("long")) => Ok(Compression::ZstdLong(None)),
        ("zstd", Some(detail)) => match detail.strip_suffix(",long").or_else(|| detail.strip_prefix("long,")) {
            Some(detail) => level(detail).map(|level| Compression::ZstdLong(Some(level))),
            None => level(detail).map(|level| Compression::Zstd(Some(level))),
        },
        (digits, None) => level(digits).map(Compression::Gzip),
        _ => Err(EXPECTED.into()),
    }
}

const EXPECTED: &str = "a level from 0 to 9, or none, gzip, lz4 or zstd was expected, with :LEVEL if you like";

fn level<T: FromStr>(text: &str) -> Result<T, String> {
    text.strip_prefix("level=").unwrap_or(text).parse().map_err(|_| EXPECTED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_pg_dump_gets() {
        for (said, passed) in [
            ("none", "0"),
            ("0", "0"),
            ("9", "9"),
            ("gzip", "6"),
            ("gzip:1", "1"),
            ("gzip:level=2", "2"),
            ("lz4", "lz4"),
            ("lz4:3", "lz4:level=3"),
            ("zstd", "zstd"),
            ("zstd:-5", "zstd:level=-5"),
            ("zstd:long", "zstd:long"),
            ("zstd:level=3,long", "zstd:level=3,long"),
            ("zstd:long,level=3", "zstd:level=3,long"),
        ] {
            assert_eq!(compression(said).map(|compression| compression.to_string()), Ok(passed.into()), "{said}");
        }
        for wrong in ["", "fast", "lz4:", "zstd:longer", "none:1", "gzip:x", "-1", "300"] {
            assert!(compression(wrong).is_err(), "{wrong}");
        }
    }
}
