<?php
// A worker of process-load-manager, with its real ZeroMQ extension: the wire's client as the reference's own one behaves.
//
//     php reference_worker.php LOG TASK SECONDS SLEEP [late=S] [block] [die=S] [mute]
//
// works for SECONDS in steps of 10 ms, with a check at each, and writes what happens to it into LOG, a line each:
// CLOCK_MONOTONIC, pid, task, what. SLEEP: seconds between two looks while it is paused (the reference's own are 5).
// late: its first check comes so late. block: every signal is blocked. die: it kills itself then. mute: no checks at all.

const STEP = 10000;

class MustEnd extends Exception
{
}

class Stander
{
    private $socket = null;
    private $paused = false;
    private $stand = false;
    private $goOn = false;

    public function __construct(private string $address, private int $sleep, private Closure $tell)
    {
    }

    public function check(): void
    {
        $this->read();
        if (!$this->stand) {
            return;
        }
        $this->paused = true;
        ($this->tell)('paused');
        while (!$this->goOn) {
            usleep($this->sleep);
            $this->read();
        }
        $this->paused = $this->stand = $this->goOn = false;
        ($this->tell)('continued');
    }

    private function read(): void
    {
        if ($this->socket === null) {
            $this->socket = (new ZMQContext())->getSocket(ZMQ::SOCKET_SUB);
            $this->socket->connect($this->address);
            $this->socket->setSockOpt(ZMQ::SOCKOPT_SUBSCRIBE, '');
        }
        $frame = $this->socket->recv(ZMQ::MODE_DONTWAIT);
        if ($frame === false) {
            return;
        }
        $said = json_decode($frame, true);
        ($this->tell)("frame $frame");
        foreach (['Pids_for_terminate', 'Pids_for_pause', 'Pids_for_continue'] as $key) {
            if (!is_array($said) || !isset($said[$key]) || !array_is_list($said[$key])) {
                ($this->tell)('wrong');
                exit(9);
            }
        }
        if (in_array(getmypid(), $said['Pids_for_terminate'], true)) {
            throw new MustEnd();
        }
        if ($this->paused) {
            $this->goOn = $this->goOn || in_array(getmypid(), $said['Pids_for_continue'], true);
        } else {
            $this->stand = in_array(getmypid(), $said['Pids_for_pause'], true);
        }
    }
}

[, $log, $task, $seconds, $sleep] = $argv;
$does = [];
parse_str(implode('&', array_slice($argv, 5)), $does);
$file = fopen($log, 'a');
$tell = function (string $what) use ($file, $task): void {
    fwrite($file, sprintf("%.3f %d %s %s\n", hrtime(true) / 1e9, getmypid(), $task, preg_replace('/\s+/', '', $what)));
};
if (isset($does['block'])) {
    pcntl_sigprocmask(SIG_SETMASK, range(1, 31));
}
$hello = fread(STDIN, 4096);
$told = json_decode($hello, true);
$keys = ['request_pulsar_rs', 'publisher_pulsar', 'push_pulsar', 'publisher_pm'];
if (!is_array($told) || array_keys($told) !== $keys) {
    $tell('wrong');
    exit(9);
}
$tell("hello $hello");
$stander = new Stander($told['publisher_pm'], (int) ($sleep * 1e6), $tell);
try {
    for ($step = 0; $step * STEP < $seconds * 1e6; $step++) {
        if (!isset($does['mute']) && $step * STEP >= ($does['late'] ?? 0) * 1e6) {
            $stander->check();
        }
        if (isset($does['die']) && $step * STEP >= $does['die'] * 1e6) {
            posix_kill(getmypid(), SIGKILL);
        }
        usleep(STEP);
    }
} catch (MustEnd) {
    $tell('terminated');
    exit(0);
}
$tell('done');
