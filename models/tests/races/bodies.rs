//! Streams as bodies, whose writers, whose reader and whose end come together.

use react_websocket::BodyStream;
use react_websocket::body::{Body, BodyWriter};
use shuttle::thread;

use super::{Notes, check, seen};

#[test]
fn a_stream_closes_once_and_keeps_no_listener_whoever_ends_it() {
    for end in [BodyWriter::close, BodyWriter::end] {
        check(3, move || {
            let closed = Notes::new();
            let stream = BodyStream::new();
            let noting = closed.clone();
            stream.on("close", move || noting.note(()));
            let (one, two, late) = (stream.writer(), stream.writer(), stream.writer());
            let noting = closed.clone();
            let threads = [
                thread::spawn(move || drop(one)),
                thread::spawn(move || {
                    seen(if two.write("a") { "written" } else { "too late" });
                    end(&two);
                }),
                thread::spawn(move || drop(Body::from(stream))),
                thread::spawn(move || {
                    // It holds the stream that holds it.
                    let captured = late.clone();
                    late.on("close", move || {
                        assert!(!captured.is_writable());
                        noting.note(());
                    });
                }),
            ];
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            let count = closed.all().len();
            assert!((1..=2).contains(&count), "{count}");
            seen(if count == 2 { "both heard" } else { "one was late" });
            assert_eq!(closed.holders(), 1, "no listener is kept");
        });
    }
}
