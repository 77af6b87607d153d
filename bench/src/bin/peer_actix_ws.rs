//! actix-ws, on actix-web.
//!
//! usage: peer_actix_ws PORT [--mode broadcast] [--workers N]
#![forbid(unsafe_code)]

use actix_web::{App, HttpRequest, HttpServer, Responder, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Closed, Session};
use bytestring::ByteString;
use react_websocket_bench::{Arguments, Trigger};
use std::sync::{Arc, Mutex, PoisonError};

/// Everybody who is connected, in a broadcasting server.
type Everybody = Option<Arc<Mutex<Vec<Session>>>>;

/// Maximum size of a message: the default of the crate is less than the load generator sends.
const SIZE_MAX: usize = 4 << 20;

fn main() -> std::io::Result<()> {
    let arguments = Arguments::of(&["mode", "workers"]);
    let everybody: Everybody = arguments.is_broadcast().then(Arc::default);
    let app = move || {
        App::new()
            .app_data(web::Data::new(everybody.clone()))
            .route("/", web::get().to(upgrade))
            .route("/hello", web::get().to(async || "This is a websocket server"))
    };
    let server = HttpServer::new(app).workers(arguments.value("workers", 1)).tcp_nodelay(true);
    actix_web::rt::System::new().block_on(server.bind(arguments.address())?.run())
}

async fn upgrade(
    request: HttpRequest,
    body: web::Payload,
    everybody: web::Data<Everybody>,
) -> actix_web::Result<impl Responder> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let messages = messages.max_frame_size(SIZE_MAX).aggregate_continuations().max_continuation_size(SIZE_MAX);
    actix_web::rt::spawn(serve(session, messages, everybody.as_ref().clone()));
    Ok(response)
}

async fn serve(mut session: Session, mut messages: AggregatedMessageStream, everybody: Everybody) -> Result<(), Closed> {
    if let Some(everybody) = &everybody {
        everybody.lock().unwrap_or_else(PoisonError::into_inner).push(session.clone());
    }
    while let Some(Ok(message)) = messages.recv().await {
        match (message, &everybody) {
            (AggregatedMessage::Text(text), None) => session.text(text).await?,
            (AggregatedMessage::Binary(bytes), None) => session.binary(bytes).await?,
            (AggregatedMessage::Text(text), Some(everybody)) => share(&text, everybody).await,
            (AggregatedMessage::Close(reason), _) => return session.close(reason).await,
            _ => {}
        }
    }
    session.close(None).await
}

async fn share(text: &str, everybody: &Mutex<Vec<Session>>) {
    let Some(trigger) = Trigger::read(text) else { return };
    // The type that `text` takes shares its bytes.
    let payload = ByteString::from(trigger.payload());
    let mut sessions = everybody.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for _ in 0..trigger.count {
        for session in &mut sessions {
            // It fails for those who have left.
            let _ = session.text(payload.clone()).await;
        }
    }
}
