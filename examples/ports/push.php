<?php

// A push server. Each path is a topic. POST publishes a message. GET subscribes to the messages, as
// server-sent events or with a WebSocket.

require __DIR__ . '/vendor/autoload.php';

use Evenement\EventEmitter;
use NoccyLabs\React\WebSocket\Group\ConnectionGroup;
use NoccyLabs\React\WebSocket\Group\GroupManager;
use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;
use React\Stream\ThroughStream;

function serve(SocketServer $socket): void
{
    // A topic is a group of WebSockets. It is also an event of this emitter, with a listener for
    // each stream of server-sent events.
    $streams = new EventEmitter();
    $groups = new GroupManager();
    $topics = [];
    $groups->on('create', function (ConnectionGroup $group) use (&$topics) {
        $topics[$group->getName()] = $group;
    });
    $groups->on('destroy', function (ConnectionGroup $group) use (&$topics) {
        unset($topics[$group->getName()]);
    });

    $websocket = new WebSocketMiddleware($groups);
    $websocket->on('connection', function (WebSocketConnection $connection) {
        $connection->setGroup($connection->getRequest()->getUri()->getPath());
    });

    $router = function (ServerRequestInterface $request) use ($streams, &$topics) {
        $topic = $request->getUri()->getPath();
        switch ($request->getMethod()) {
            case 'GET':
                return subscribe($streams, $topic);
            case 'POST':
                $text = textOf($request);
                if ($text === null) {
                    return Response::plaintext("A message has a text\n")->withStatus(400);
                }
                $message = json_encode(['text' => $text]);
                $group = $topics[$topic] ?? null;
                $group?->writeAll($message);
                $streams->emit($topic, [$message]);
                $clients = ($group ? iterator_count($group) : 0) + count($streams->listeners($topic));
                return Response::json(['clients' => $clients])->withStatus(202);
            default:
                return new Response(405, ['Allow' => 'GET, POST']);
        }
    };

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);
}

/** The text of a message, which is JSON or a form. */
function textOf(ServerRequestInterface $request): ?string
{
    $isJson = str_starts_with($request->getHeaderLine('Content-Type'), 'application/json');
    $message = $isJson ? json_decode((string) $request->getBody(), true) : $request->getParsedBody();
    return is_string($message['text'] ?? null) ? $message['text'] : null;
}

/** Server-sent events. A slow client misses messages, and gets their number when it has caught up. */
function subscribe(EventEmitter $streams, string $topic): Response
{
    $stream = new ThroughStream();
    $isSlow = false;
    $missed = 0;

    $listener = function (string $message) use ($stream, &$isSlow, &$missed) {
        if ($isSlow) {
            $missed++;
        } else {
            $isSlow = !$stream->write("data: $message\n\n");
        }
    };
    $streams->on($topic, $listener);

    $stream->on('drain', function () use ($stream, &$isSlow, &$missed) {
        if ($missed > 0) {
            $stream->write("event: missed\ndata: $missed\n\n");
        }
        $isSlow = false;
        $missed = 0;
    });

    $stream->on('close', function () use ($streams, $topic, $listener) {
        $streams->removeListener($topic, $listener);
    });

    return new Response(200, ['Content-Type' => 'text/event-stream', 'Cache-Control' => 'no-store'], $stream);
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
