use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The answer to a request for a WebSocket, once all of its head is there. Nothing is looked at but the key.
pub fn answer(head: &[u8]) -> Option<Vec<u8>> {
    if !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let line = head.split(|byte| *byte == b'\n').find(|line| is_key(line))?;
    let key = line.get(NAME.len()..)?.trim_ascii();
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(hash.digest().bytes());
    let mut answer = Vec::with_capacity(160);
    answer.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer.extend_from_slice(b"Sec-WebSocket-Accept: ");
    answer.extend_from_slice(accept.as_bytes());
    answer.extend_from_slice(b"\r\n\r\n");
    Some(answer)
}

const NAME: &[u8] = b"Sec-WebSocket-Key:";

fn is_key(line: &[u8]) -> bool {
    line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}
