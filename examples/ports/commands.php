<?php

// A shared list of tasks: JSON commands, dispatched by a class with the callbacks of Ratchet.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;

function serve(SocketServer $socket): void
{
    $websocket = new WebSocketMiddleware();
    (new TaskList())->attach($websocket);

    $router = fn (ServerRequestInterface $request) => Response::plaintext("Connect with a WebSocket\n");

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);
}

final class TaskList
{
    private array $clients = [];
    private array $tasks = [];

    public function attach(WebSocketMiddleware $websocket): void
    {
        $websocket->on('connection', function (WebSocketConnection $connection) {
            $this->onOpen($connection);
            $connection->on('text', function (string $text) use ($connection) {
                try {
                    $this->onMessage($connection, $text);
                } catch (Exception $error) {
                    $this->onError($connection, $error);
                }
            });
            $connection->on('close', function () use ($connection) {
                $this->onClose($connection);
            });
        });
    }

    private function onOpen(WebSocketConnection $connection): void
    {
        $this->clients[spl_object_id($connection)] = $connection;
        $connection->write(json_encode(['tasks' => $this->tasks]));
    }

    private function onMessage(WebSocketConnection $connection, string $text): void
    {
        $message = json_decode($text, true, flags: JSON_THROW_ON_ERROR);
        match ($message['command'] ?? null) {
            'add' => $this->add($message['task'] ?? null),
            'done' => $this->done($message['task'] ?? null),
            'bye' => $connection->end(),
            default => throw new InvalidArgumentException('unknown command'),
        };
    }

    private function onClose(WebSocketConnection $connection): void
    {
        unset($this->clients[spl_object_id($connection)]);
    }

    private function onError(WebSocketConnection $connection, Exception $error): void
    {
        $connection->write(json_encode(['error' => $error->getMessage()]));
    }

    private function add(mixed $task): void
    {
        is_string($task) || throw new InvalidArgumentException('a task is a text');
        !in_array($task, $this->tasks, true) || throw new DomainException("$task is on the list already");
        $this->tasks[] = $task;
        $this->broadcast();
    }

    private function done(mixed $task): void
    {
        $place = array_search($task, $this->tasks, true);
        $place !== false || throw new DomainException('no such task');
        array_splice($this->tasks, $place, 1);
        $this->broadcast();
    }

    private function broadcast(): void
    {
        foreach ($this->clients as $client) {
            $client->write(json_encode(['tasks' => $this->tasks]));
        }
    }
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
