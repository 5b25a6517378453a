//! Compressed bytes to plain ones, never more than a cap: a small bomb costs no more memory than an honest component.

use std::io::Read;

use bytes::Bytes;

use super::BundleError;

/// The largest window of a zstd stream, as a power of two: 8 MiB, what RFC 8878 section 3.1.1.1.2 asks every decoder to
/// support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How bytes are packed, by their first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Anything else; a component's own bytes.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Form {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Plain => "a WebAssembly component",
            Self::Gzip => "a gzip stream",
            Self::Zstd => "a zstd stream",
        }
    }
}

/// The bytes within `packed`, which `name` names in errors.
pub(super) fn open(name: &str, packed: &Bytes, form: Form, cap: usize) -> Result<Bytes, BundleError> {
    let failed = |error: std::io::Error| BundleError::Decompress { key: name.to_owned(), cause: error.to_string() };
    let too_large = || BundleError::TooLarge { key: name.to_owned(), cap };
    if packed.len() > cap {
        return Err(too_large());
    }
    let opened = match form {
        Form::Plain => return Ok(packed.clone()),
        Form::Gzip => read_capped(flate2::read::MultiGzDecoder::new(packed.as_ref()), cap),
        Form::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            read_capped(decoder, cap)
        }
    };
    opened.map_err(failed)?.ok_or_else(too_large)
}

/// All of `reader`, or `None` if that is more than `cap` bytes. The buffer doubles as it fills, and never beyond the
/// cap.
fn read_capped(mut reader: impl Read, cap: usize) -> Result<Option<Bytes>, std::io::Error> {
    let mut opened: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = match reader.read(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        let read = chunk.get(..length).unwrap_or_default();
        let needed = opened.len().saturating_add(length);
        match length {
            0 => return Ok(Some(opened.into())),
            _ if needed > cap => return Ok(None),
            _ if needed > opened.capacity() => {
                let capacity = opened.capacity().saturating_mul(2).clamp(needed, cap);
                opened.reserve_exact(capacity - opened.len());
            }
            _ => {}
        }
        opened.extend_from_slice(read);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn open_any(packed: &Bytes, cap: usize) -> Result<Bytes, BundleError> {
        open("plugin", packed, Form::of(packed), cap)
    }

    #[test]
    fn each_form_opens_up_to_the_cap_and_not_a_byte_beyond() {
        let plain = Bytes::from(vec![7_u8; 10_000]);
        let zstd: Bytes = zstd::encode_all(plain.as_ref(), 19).unwrap().into();
        for packed in [plain.clone(), gzip(&plain), zstd] {
            assert_eq!(open_any(&packed, 10_000), Ok(plain.clone()));
            assert!(matches!(open_any(&packed, 9_999), Err(BundleError::TooLarge { cap: 9_999, .. })));
        }
    }

    #[test]
    fn bombs_stop_at_the_cap() {
        let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..1024 {
            bomb.write_all(&[0; 1 << 20]).unwrap();
        }
        let bomb: Bytes = bomb.finish().unwrap().into();
        assert!(bomb.len() < 1 << 20, "{} bytes stand for 1 GiB", bomb.len());
        assert!(matches!(open_any(&bomb, 1 << 20), Err(BundleError::TooLarge { .. })));
        assert!(matches!(open_any(&gzip(&vec![0; 32 << 20]), 1 << 20), Err(BundleError::TooLarge { .. })));
    }

    #[test]
    fn windows_beyond_eight_mebibytes_are_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"small").unwrap();
        encoder.flush().unwrap();
        let packed: Bytes = encoder.finish().unwrap().into();
        assert!(matches!(open_any(&packed, 1 << 20), Err(BundleError::Decompress { .. })));
    }

    #[test]
    fn cut_and_dirty_streams_are_errors() {
        let plain = vec![7_u8; 10_000];
        let zstd: Bytes = zstd::encode_all(plain.as_slice(), 3).unwrap().into();
        for packed in [gzip(&plain), zstd] {
            let cut = packed.slice(..packed.len() - 3);
            assert!(matches!(open_any(&cut, 1 << 20), Err(BundleError::Decompress { .. })));
            let dirty: Bytes = [packed.as_ref(), b"rubbish behind it"].concat().into();
            assert!(matches!(open_any(&dirty, 1 << 20), Err(BundleError::Decompress { .. })));
        }
    }
}
