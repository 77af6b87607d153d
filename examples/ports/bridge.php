<?php

// A bridge between WebSockets and a TCP service that speaks in lines. Each client has a TCP
// connection of its own. Each message becomes a line, and each line becomes a message. A side that
// reads slowly slows the other side down.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\Group\GroupManager;
use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\EventLoop\Loop;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\ConnectionInterface;
use React\Socket\Connector;
use React\Socket\SocketServer;

function serve(SocketServer $socket, string $address): void
{
    $connector = new Connector();
    $groups = new GroupManager();

    $websocket = new WebSocketMiddleware($groups);
    $websocket->on('connection', function (WebSocketConnection $client) use ($connector, $address) {
        $client->setGroup('clients');
        // The client's messages wait until the service is connected.
        $client->pause();
        $connector->connect($address)->then(
            function (ConnectionInterface $service) use ($client) {
                if (!$client->isWritable()) {
                    $service->close();
                    return;
                }
                bridge($client, $service);
                $client->resume();
            },
            function (Exception $error) use ($client) {
                echo "{$error->getMessage()}\n";
                $client->close();
            },
        );
    });

    $router = fn (ServerRequestInterface $request) => Response::plaintext("Connect with a WebSocket\n");

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);

    // Stops listening, and closes the clients with 1001. The loop ends when all have ended, and
    // when it has no listener for the signal.
    $shutdown = function () use ($socket, $groups, &$shutdown) {
        Loop::removeSignal(SIGTERM, $shutdown);
        $socket->close();
        $groups->closeAll('server shutdown', 1001);
    };
    Loop::addSignal(SIGTERM, $shutdown);
}

/** Passes on lines and messages until one side ends. */
function bridge(WebSocketConnection $client, ConnectionInterface $service): void
{
    $rest = '';
    $service->on('data', function (string $data) use ($client, $service, &$rest) {
        $lines = explode("\n", $rest . $data);
        $rest = array_pop($lines);
        foreach ($lines as $line) {
            if (!$client->write(rtrim($line, "\r"))) {
                $service->pause();
            }
        }
    });
    $client->on('drain', function () use ($service) {
        $service->resume();
    });
    $service->on('end', function () use ($client, &$rest) {
        if ($rest !== '') {
            $client->write($rest);
        }
        $client->end();
    });
    $service->on('error', function (Exception $error) use ($client) {
        echo "{$error->getMessage()}\n";
        $client->close();
    });

    $client->on('text', function (string $text) use ($client, $service) {
        if (!$service->write("$text\n")) {
            $client->pause();
        }
    });
    $service->on('drain', function () use ($client) {
        $client->resume();
    });
    $client->on('close', function () use ($service) {
        $service->end();
    });
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket, $argv[2] ?? '127.0.0.1:7000');
