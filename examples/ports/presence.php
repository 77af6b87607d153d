<?php

// The server announces who is online. A client that does not answer heartbeats is closed.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\EventLoop\Loop;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;

// Seconds between two heartbeats, and the longest silence of a client: two missed heartbeats and a
// little more.
const HEARTBEAT = 20;
const SILENCE = 45;

function serve(SocketServer $socket): void
{
    $people = new People();

    $websocket = new WebSocketMiddleware();
    $websocket->on('connection', function (WebSocketConnection $connection) use ($people) {
        $query = $connection->getRequest()->getQueryParams();
        $people->enter($connection, $query['name'] ?? 'somebody');
        $lastSeen = microtime(true);

        $timer = Loop::addPeriodicTimer(HEARTBEAT, function () use ($connection, &$lastSeen) {
            if (microtime(true) - $lastSeen > SILENCE) {
                $connection->close();
            } else {
                $connection->write(json_encode(['type' => 'ping']));
            }
        });

        // Any message is a sign of life. A client that has nothing to say answers {"type":"pong"}.
        $connection->on('text', function (string $text) use (&$lastSeen) {
            $lastSeen = microtime(true);
        });

        $connection->on('close', function () use ($connection, $people, $timer) {
            Loop::cancelTimer($timer);
            $people->leave($connection);
        });
    });

    $router = fn (ServerRequestInterface $request) => Response::plaintext("Connect with a WebSocket\n");

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);
}

/** The people who are online, each with one connection or several. */
final class People
{
    private SplObjectStorage $names;

    public function __construct()
    {
        $this->names = new SplObjectStorage();
    }

    public function enter(WebSocketConnection $connection, string $name): void
    {
        $online = $this->online();
        $connection->write(json_encode(['type' => 'online', 'names' => $online]));
        if (!in_array($name, $online, true)) {
            $this->announce('entered', $name);
        }
        $this->names[$connection] = $name;
    }

    public function leave(WebSocketConnection $connection): void
    {
        $name = $this->names[$connection];
        unset($this->names[$connection]);
        if (!in_array($name, $this->online(), true)) {
            $this->announce('left', $name);
        }
    }

    private function announce(string $type, string $name): void
    {
        foreach ($this->names as $connection) {
            $connection->write(json_encode(['type' => $type, 'name' => $name]));
        }
    }

    private function online(): array
    {
        $online = [];
        foreach ($this->names as $connection) {
            $online[] = $this->names[$connection];
        }
        sort($online);
        return array_values(array_unique($online));
    }
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
