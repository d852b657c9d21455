<?php
/**
 * Checkpoints for workers of Loadkeeper: places where it is safe to pause this program, or to end it.
 *
 *     require_once 'loadkeeper.php';
 *     foreach ($pages as $n => $page) {
 *         Loadkeeper\checkpoint();
 *         ...
 *     }
 *
 * docs/clients.md of Loadkeeper says how it is used, docs/checkpoint.md what stands in the file that it reads. Outside
 * Loadkeeper nothing here does anything. PHP 7.3 or newer, no extension; posix is used where it is there. One file, so
 * that it can be copied anywhere.
 */

namespace Loadkeeper;

/**
 * The worker is to end: leave what must be left in order, and let it pass. What the worker was at is given back and
 * done again later. Uncaught it ends the program with exit code 75, without a word.
 *
 * An \Error, for `catch (\Exception $e)` of code that knows nothing of it must not swallow it; whoever catches
 * \Throwable meets it again at the next checkpoint.
 */
class Terminated extends \Error
{
    /** Why, in words for people. */
    public $reason;

    /** The reading of the monotonic clock, in nanoseconds, at which the worker is killed; null: unknown. */
    private $deadline;

    public function __construct(string $reason, ?int $deadline)
    {
        parent::__construct('Loadkeeper ends this worker' . ($reason === '' ? '' : ": $reason"), Client::EXIT_CODE);
        $this->reason = $reason;
        $this->deadline = $deadline;
    }

    /** Seconds from now until the worker is killed, never less than 0; null: unknown. */
    public function grace(): ?float
    {
        return $this->deadline === null ? null : \max(0.0, ($this->deadline - \hrtime(true)) / 1e9);
    }
}

/**
 * Here it is safe to pause or to end this program: stands here while a pause is wanted; raises Terminated, again at
 * every checkpoint, when the worker is to end.
 */
function checkpoint(): void
{
    if (Client::$file === false || Client::$inside !== 0) {
        return;
    }
    if (Client::$member !== \getmypid() && !Client::join()) {
        return;
    }
    if (\stream_get_contents(Client::$file, 1, 0) !== "\0") {
        Client::obey();
    }
}

/**
 * Call $section as a critical section, in which no checkpoint acts, and return what it returns. A checkpoint follows
 * at once: Terminated may come when the section is done. One that begins after Terminated was raised is followed by
 * none: cleaning up that calls code with checkpoints belongs into it.
 */
function off(callable $section)
{
    Client::enter();
    try {
        return $section();
    } finally {
        Client::leave();
    }
}

/** Begin a critical section, where a function will not do. Sections may lie in one another. */
function off_begin(): void
{
    Client::enter();
}

/** End what off_begin began, as off does. Raises \LogicException where nothing was begun. */
function off_end(): void
{
    if (Client::$inside === 0) {
        throw new \LogicException('Loadkeeper\off_end(): there was no off_begin() before it');
    }
    Client::leave();
}

/**
 * Call $before each time before this program stands at a checkpoint (to release a lock, say), and $after when it goes
 * on or is to end. Those of several calls run in the order of the calls, the $after in reverse. No checkpoint acts in
 * them.
 */
function on_pause(?callable $before, ?callable $after = null): void
{
    Client::$before[] = $before;
    \array_unshift(Client::$after, $after);
}

/**
 * Say how far the worker is, 0 to 1, and in words what it is at (null: as before), for people and for forecasts.
 * Raises \InvalidArgumentException for any other number.
 */
function progress(float $share, ?string $at = null): void
{
    if (!($share >= 0 && $share <= 1)) {
        throw new \InvalidArgumentException("Loadkeeper\\progress(): $share is no share; it goes from 0 to 1");
    }
    Client::say(Client::SHARE, 32, \rtrim(\rtrim(\sprintf('%.6F', $share), '0'), '.'));
    if ($at !== null) {
        Client::say(Client::AT, 192, $at);
    }
}

/**
 * One task of a kept worker (loadkeeper run --queue URL --kept). It is done when the body of the loop is over, unless
 * something else was said; an exception that leaves the loop ends the program, and the task has failed.
 */
class Task
{
    /** Its number in the run, which attempt at it this is (from 1), its key, and its payload. */
    public $number;
    public $attempt;
    public $key;
    public $payload;

    /** Whether it was said what became of it. */
    public $answered = false;

    private $line;

    public function __construct($line, int $number, int $attempt, string $key, string $payload)
    {
        $this->line = $line;
        $this->number = $number;
        $this->attempt = $attempt;
        $this->key = $key;
        $this->payload = $payload;
    }

    /** It is done; $result goes to whoever waits for it. */
    public function done(string $result = ''): void
    {
        $this->answer('done', $result === '' ? '' : \base64_encode($result));
    }

    /** It is tried again as often as the run says, then put aside with the reason. */
    public function failed(string $why = ''): void
    {
        $this->answer('failed', $why === '' ? '' : \base64_encode($why));
    }

    /** Not now: it is tried again after a while, which is no failure. */
    public function later(?float $seconds = null): void
    {
        $this->answer('later', $seconds === null ? '' : \sprintf('%.3F', $seconds));
    }

    /** How far it is, 0 to 1, and what it is at, for people and for whoever waits. Raises \InvalidArgumentException. */
    public function progress(float $share, string $at = ''): void
    {
        if (!($share >= 0 && $share <= 1)) {
            throw new \InvalidArgumentException("Loadkeeper\\Task::progress(): $share is no share; it goes from 0 to 1");
        }
        $this->send('progress', \sprintf('%.6F', $share) . ' ' . \preg_replace('/\s+/', ' ', $at));
    }

    private function answer(string $verb, string $rest): void
    {
        if ($this->answered) {
            throw new \LogicException("Loadkeeper\\Task: task $this->number has been answered already");
        }
        $this->answered = true;
        $this->send($verb, $rest);
    }

    private function send(string $verb, string $rest): void
    {
        if ($this->line === null) {
            return;
        }
        $text = \rtrim("loadkeeper $verb $this->number $rest") . "\n";
        for ($sent = 0; $sent < \strlen($text); $sent += $wrote) {
            $wrote = \fwrite($this->line, \substr($text, $sent));
            if ($wrote === false || $wrote === 0) {
                throw new \RuntimeException('Loadkeeper: nobody reads what this worker says any more');
            }
        }
    }
}

/**
 * The tasks of a kept worker, until there are no more for it. Started by hand, a task is each line of stdin. Raises
 * \RuntimeException where Loadkeeper speaks another version.
 */
function tasks(): \Generator
{
    $version = \getenv('LOADKEEPER_WORKER_TASKS');
    if ($version !== false && $version !== '1') {
        throw new \RuntimeException("this Loadkeeper speaks version $version of the tasks' protocol, not 1");
    }
    $line = \fopen('php://fd/0', $version === false ? 'r' : 'r+');
    for ($number = 1; ($text = \fgets($line)) !== false; $number++) {
        if ($version === false) {
            yield new Task(null, $number, 1, '', \rtrim($text, "\n"));
            continue;
        }
        $words = \explode(' ', \rtrim($text, "\n"));
        if (\count($words) !== 6 || $words[0] !== 'loadkeeper' || $words[1] !== 'task') {
            throw new \RuntimeException('Loadkeeper: this is no task: ' . \substr($text, 0, 80));
        }
        $payload = $words[5] === '-' ? '' : \base64_decode($words[5]);
        $task = new Task($line, (int) $words[2], (int) $words[3], $words[4] === '-' ? '' : $words[4], $payload);
        yield $task;
        if (!$task->answered) {
            $task->done();
        }
    }
}

/** Say how many bytes the worker will need at its peak. Raises \InvalidArgumentException for less than 0. */
function memory_need(int $bytes): void
{
    if ($bytes < 0) {
        throw new \InvalidArgumentException("Loadkeeper\\memory_need(): $bytes is no number of bytes");
    }
    Client::say(Client::NEED, 32, (string) $bytes);
}

/**
 * The worker's side of the checkpoint file; offsets and lengths are bytes. Use the functions above.
 *
 * @internal
 */
final class Client
{
    public const EXIT_CODE = 75;
    public const SHARE = 1024;
    public const NEED = 1056;
    public const AT = 1088;

    private const PROTOCOL = 'loadkeeper 1';
    private const SIZE = 4096;
    private const SLOTS = 256;
    private const SLOT = 32;
    private const COUNT = 24;
    private const NUMBER = 16; // the same in the head and in a slot
    private const LOOK = 10000; // microseconds between two looks while standing
    private const NO_SUCH_PROCESS = 3; // ESRCH, as posix tells it

    /** The file, unbuffered; null: not looked for yet; false: there is nothing to obey. */
    public static $file = null;
    /** The process that has the slot: a forked child takes its own. */
    public static $member = 0;
    /** Critical sections that are open, one in another, and calls of what was given to on_pause. */
    public static $inside = 0;
    public static $before = [];
    public static $after = [];

    /** The process that opened the file: an inherited handle shares its position with the parent's. */
    private static $opener = 0;
    /** Where the slot begins; null: there was none left. */
    private static $slot = null;
    /** What the slot says, or would say. */
    private static $state = "\0";
    private static $seen = '';
    /** The critical section that is open is cleaning up: it began when the worker was ending. */
    private static $ending = false;
    /** The file again, for writing: between its seek and its write a signal's handler may read, or write. */
    private static $pen = null;
    private static $unwritten = [];
    private static $writing = false;
    private static $frees = false;
    private static $quiet = false;

    /** Open the file and take a slot; false when there is nothing to obey. */
    public static function join(): bool
    {
        if (!self::open()) {
            return false;
        }
        self::$member = \getmypid();
        self::take();
        if (!self::$frees) { // a forked child inherits it
            self::$frees = true;
            \register_shutdown_function([self::class, 'free']);
        }
        return true;
    }

    /** Do what is wanted until nothing is. Raises Terminated. */
    public static function obey(): void
    {
        while (!self::$writing) { // else it is a signal's handler that came while the slot is being written
            list($wish, $number, $deadline, $reason) = self::look();
            if ($wish === 'p') {
                self::stand($number);
            } elseif ($wish === 't') {
                self::mark('e', $number);
                self::end_quietly();
                throw new Terminated($reason, \preg_match('/^[0-9]{1,18}$/D', $deadline) ? (int) $deadline : null);
            } elseif ($wish === '?') {
                self::mark('r', $number);
                return;
            } else {
                if ($wish !== "\0") {
                    self::give_up('was ' . ($wish === '' ? 'cut short' : 'written over') . ' by somebody');
                }
                return;
            }
        }
    }

    /** Begin a critical section. */
    public static function enter(): void
    {
        if (self::$inside++ === 0 && self::$file !== false && (self::$member === \getmypid() || self::join())) {
            self::$ending = self::$state === 'e';
            self::mark('c', self::$seen);
        }
    }

    /** End a critical section; after the outermost one comes a checkpoint. */
    public static function leave(): void
    {
        if (--self::$inside !== 0) {
            return;
        }
        if (self::$file && self::$member === \getmypid()) {
            self::mark(self::$ending ? 'e' : 'r', self::$seen);
            if (self::$ending) {
                return;
            }
        }
        checkpoint();
    }

    /** Write a text into a field of so many bytes, its newline among them; it takes no slot. */
    public static function say(int $offset, int $bytes, string $text): void
    {
        if (self::$file === false || !self::open()) {
            return;
        }
        $text = \substr(\preg_replace('/[\x00-\x1f\x7f]/', ' ', $text), 0, $bytes - 1);
        self::write($offset, \str_pad($text, $bytes - 1, "\0"));
    }

    /** Give the slot back; called when the program ends. */
    public static function free(): void
    {
        if (self::$file && self::$slot !== null && self::$member === \getmypid()) {
            self::write(self::$slot, "\0");
        }
    }

    /** Have the file open in this process; false when there is nothing to obey. */
    private static function open(): bool
    {
        if (self::$opener === \getmypid()) {
            return (bool) self::$file;
        }
        self::$opener = \getmypid();
        $path = (string) \getenv('LOADKEEPER_WORKER_CHECKPOINT');
        if ($path === '') {
            self::$file = false;
        } elseif (!\is_file($path)) {
            self::give_up('is not there');
        } elseif (!\is_readable($path) || !\is_writable($path) || !self::get($path)) {
            self::give_up('may not be read and written by this user');
        } else {
            self::examine();
        }
        return (bool) self::$file;
    }

    private static function get(string $path): bool
    {
        self::$file = @\fopen($path, 'rbe');
        self::$pen = @\fopen($path, 'r+be');
        if (!self::$file || !self::$pen) {
            return false;
        }
        \stream_set_read_buffer(self::$file, 0);
        \stream_set_write_buffer(self::$pen, 0);
        self::$writing = false;
        self::$unwritten = [];
        return true;
    }

    /** Give up a file that is not of this version, or not this worker's. */
    private static function examine(): void
    {
        $head = self::read(0, 128);
        $worker = self::text($head, 64, 64);
        if (\fstat(self::$file)['size'] < self::SIZE) {
            self::give_up('was cut short by somebody');
        } elseif (self::text($head, 1, 15) !== self::PROTOCOL) {
            $protocol = self::PROTOCOL;
            self::give_up("does not say '$protocol': it is of another version, or somebody has written over it");
        } elseif ($worker !== (string) \getenv('LOADKEEPER_WORKER')) {
            self::give_up("belongs to another worker, $worker");
        }
    }

    private static function give_up(string $fault): void
    {
        self::$file = false;
        $words = 'loadkeeper: the checkpoint file ' . \getenv('LOADKEEPER_WORKER_CHECKPOINT') . " $fault";
        \file_put_contents('php://stderr', \preg_replace('/[^ -~]/', '?', $words) . "; going on without checkpoints\n");
    }

    /** Take the slot that is ours already, else one that is free or whose process is gone. */
    private static function take(): void
    {
        self::$slot = null;
        self::$state = 'r';
        self::$seen = '';
        \flock(self::$file, \LOCK_EX);
        $free = null;
        foreach (\str_split(self::read(self::SLOTS, self::COUNT * self::SLOT), self::SLOT) as $n => $slot) {
            $owner = self::text($slot, 1, 15);
            if ($owner === (string) self::$member) {
                $free = $n;
                break;
            }
            if ($free === null && ($slot[0] === "\0" || self::gone((int) $owner))) {
                $free = $n;
            }
        }
        if ($free !== null) {
            self::$slot = self::SLOTS + $free * self::SLOT;
            self::write(self::$slot, \str_pad('r' . self::$member, 15, "\0") . "\n" . \str_repeat("\0", 15));
        }
        \flock(self::$file, \LOCK_UN);
    }

    private static function gone(int $process): bool
    {
        if (\function_exists('posix_kill')) {
            return !\posix_kill($process, 0) && \posix_get_last_error() === self::NO_SUCH_PROCESS;
        }
        return @\is_dir('/proc/self') && !\is_dir("/proc/$process");
    }

    /** Stand while a pause is wanted. */
    private static function stand(string $number): void
    {
        self::$inside++;
        try {
            self::call(self::$before);
            self::wait($number);
            self::call(self::$after);
        } finally {
            self::$inside--;
        }
    }

    private static function call(array $callbacks): void
    {
        foreach (\array_filter($callbacks) as $callback) {
            $callback();
        }
    }

    private static function wait(string $number): void
    {
        try {
            for ($wish = 'p'; $wish === 'p'; list($wish, $number) = self::look()) {
                self::mark('s', $number);
                \usleep(self::LOOK);
            }
        } finally { // a signal's handler may have thrown; only who stands may say that it has seen a pause
            self::mark($wish === 't' ? 'e' : 'r', $wish === 't' ? $number : self::$seen);
        }
    }

    /**
     * What is wanted: wish, number, deadline, reason. The wish is '' where the file was cut short.
     *
     * It is read last: so the number is never a later one, and nobody stands for a pause that is not wanted yet.
     */
    private static function look(): array
    {
        $head = self::read(0, self::SLOTS);
        $fields = [self::text($head, 16, 16), self::text($head, 32, 32), self::text($head, 128, 128)];
        $wish = \strlen($head) < self::SLOTS ? '' : self::read(0, 1);
        return \array_merge([$wish], $fields);
    }

    /** Say in the slot what we do, and which wish we have seen. */
    private static function mark(string $state, string $number): void
    {
        list($seen, $was) = [self::$seen, self::$state];
        self::$seen = $number;
        self::$state = $state;
        if (self::$slot !== null && $seen !== $number) {
            self::write(self::$slot + self::NUMBER, \str_pad(\substr($number, 0, 15), 15, "\0"));
        }
        if (self::$slot !== null && $was !== $state) {
            self::write(self::$slot, $state);
        }
    }

    /** A Terminated that nobody catches ends the program with its exit code, and is no error to be shown. */
    private static function end_quietly(): void
    {
        if (self::$quiet) {
            return;
        }
        self::$quiet = true;
        $previous = \set_exception_handler(static function ($thrown) use (&$previous) {
            if ($thrown instanceof Terminated) {
                exit(Client::EXIT_CODE);
            }
            if ($previous === null) {
                throw $thrown; // PHP's own words
            }
            $previous($thrown);
        });
    }

    private static function text(string $bytes, int $offset, int $length): string
    {
        return \rtrim((string) \substr($bytes, $offset, $length), "\0\n");
    }

    private static function read(int $offset, int $length): string
    {
        return (string) \stream_get_contents(self::$file, $length, $offset); // a seek, and a read, in one call
    }

    private static function write(int $offset, string $bytes): void
    {
        if (\fstat(self::$file)['size'] < self::SIZE) {
            return; // it was cut short, and is not to grow
        }
        self::$unwritten[] = [$offset, $bytes];
        if (self::$writing) {
            return;
        }
        do {
            self::$writing = true;
            while (self::$unwritten !== []) {
                list($offset, $bytes) = \array_shift(self::$unwritten);
                \fseek(self::$pen, $offset);
                @\fwrite(self::$pen, $bytes);
            }
            self::$writing = false;
        } while (self::$unwritten !== []);
    }
}
