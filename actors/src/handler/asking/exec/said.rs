//! What a child says, line by line.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Hears lines until the other side is closed; of each at most `max` bytes, and whether that was all of
/// it.
pub(super) async fn hear_lines(
    from: Option<impl AsyncRead + Unpin>,
    max: usize,
    mut each: impl FnMut(&[u8], bool),
) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let (mut line, mut whole) = (Vec::new(), true);
    loop {
        let here = match from.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(here) => here,
        };
        let end = here.iter().position(|byte| *byte == b'\n');
        let part = here.get(..end.unwrap_or(here.len())).unwrap_or_default();
        let room = max - line.len();
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        whole &= part.len() <= room;
        let taken = part.len() + usize::from(end.is_some());
        from.consume(taken);
        if end.is_some() {
            each(&line, whole);
            line.clear();
            whole = true;
        }
    }
    if !line.is_empty() {
        each(&line, whole);
    }
}
