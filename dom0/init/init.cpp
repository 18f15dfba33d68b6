// SPDX-License-Identifier: BSD-2-Clause
// Process 1 of the control domain.
#include "init/init.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "toolstack/paths.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace cero::init {

namespace {

struct Mount {
    const char* source;
    const char* target;
    const char* type;
    unsigned long flags;
    const char* options;
};

constexpr Mount mounts[] = {
    {"proc", "/proc", "proc", 0, ""},
    {"sysfs", "/sys", "sysfs", 0, ""},
    {"devtmpfs", "/dev", "devtmpfs", 0, "mode=0755"},
    {"devpts", "/dev/pts", "devpts", 0, ""},
    {"tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
};

/// A process that init starts again when it dies.
struct Service {
    std::string name;
    std::vector<std::string> command;
    bool is_shell{};   ///< gets the console as its controlling terminal
    std::string ready; ///< a path that appears when it serves
    std::string log{}; ///< file for its messages; the console without
    pid_t pid{-1};
    std::uint64_t started_ns{};
    std::uint64_t start_again_ns{};
};

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::uint64_t quick_death_ns = 2 * second_ns;

volatile std::sig_atomic_t shutdown_command = 0;

extern "C" void note_signal(int number) {
    // The conventions of busybox' halt, poweroff and reboot.
    if (number == SIGUSR1)
        shutdown_command = static_cast<int>(RB_HALT_SYSTEM);
    else if (number == SIGUSR2)
        shutdown_command = static_cast<int>(RB_POWER_OFF);
    else if (number == SIGTERM)
        shutdown_command = static_cast<int>(RB_AUTOBOOT);
}

void mount_all() {
    for (const Mount& mount : mounts) {
        ::mkdir(mount.target, 0755);
        if (::mount(mount.source, mount.target, mount.type, mount.flags, mount.options) != 0 &&
            errno != EBUSY && errno != ENODEV)
            log("cannot mount {}: {}", mount.target, errno_text(errno));
    }
    for (const char* path :
         {"/run/cero", "/run/xenstored", "/var/log/cero/console", "/var/lib/cero"})
        make_directories(path);
}

void exec_program(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& word : command)
        arguments.push_back(const_cast<char*>(word.c_str())); // NOLINT: execv does not write
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    log("cannot run {}: {}", command[0], errno_text(errno));
    ::_exit(127);
}

/// Joins the outputs of this process to the end of the file; base/log.hpp keeps it small.
void log_to(const std::string& path) {
    const Fd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    if (!file) {
        log("cannot open {}: {}", path, errno_text(errno));
        return;
    }
    for (const int fd : {1, 2})
        (void)::dup2(file.get(), fd);
    ::setenv("CERO_LOG", path.c_str(), 1);
}

pid_t start(const std::vector<std::string>& command, bool is_shell = false,
            const std::string& log_path = {}) {
    const pid_t child = ::fork();
    if (child != 0)
        return child;
    for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGCHLD})
        ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::setsid();
    if (is_shell) {
        const int terminal = ::open("/dev/console", O_RDWR);
        if (terminal >= 0) {
            for (const int fd : {0, 1, 2})
                ::dup2(terminal, fd);
            if (terminal > 2)
                ::close(terminal);
            ::ioctl(0, TIOCSCTTY, 1);
        }
    }
    if (!log_path.empty())
        log_to(log_path);
    exec_program(command);
    return -1;
}

/// Runs a program to its end; returns its exit status, or -1.
int run(const std::vector<std::string>& command) {
    const pid_t child = start(command);
    int status = 0;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

/// Sleeps until `path` exists, at most `limit_ms`.
bool wait_for(const std::string& path, int limit_ms) {
    for (int waited = 0; waited < limit_ms; ++waited) {
        if (exists(path))
            return true;
        ::usleep(1000);
    }
    return exists(path);
}

class Supervisor {
public:
    void add(Service service) {
        services_.push_back(std::move(service));
        launch(services_.back());
    }

    /// Waits for children and signals until the machine shall stop; then returns the command.
    int run_for_ever() {
        for (;;) {
            if (shutdown_command != 0)
                return shutdown_command;
            reap();
            int timeout = -1;
            const std::uint64_t now = monotonic_ns();
            for (Service& service : services_) {
                if (service.pid > 0)
                    continue;
                if (now >= service.start_again_ns) {
                    launch(service);
                    continue;
                }
                const int left = static_cast<int>((service.start_again_ns - now) / 1'000'000) + 1;
                timeout = timeout < 0 ? left : std::min(timeout, left);
            }
            pause_for(timeout);
        }
    }

    void stop_all() {
        for (const Service& service : services_)
            if (service.pid > 0)
                ::kill(service.pid, SIGTERM);
    }

private:
    static std::string hint(const Service& service) {
        return service.log.empty() ? "" : "; see " + service.log;
    }

    static void launch(Service& service) {
        service.started_ns = monotonic_ns();
        service.pid = start(service.command, service.is_shell, service.log);
        if (service.pid < 0) {
            log("{}: cannot start it: {}", service.name, errno_text(errno));
            service.start_again_ns = service.started_ns + second_ns;
            return;
        }
        constexpr int ready_ms = 5000;
        if (!service.ready.empty() && !wait_for(service.ready, ready_ms))
            log("{}: it does not get ready{}", service.name, hint(service));
    }

    static void pause_for(int timeout_ms) {
        // SIGCHLD and the shutdown signals are blocked outside of ppoll, so none is missed.
        sigset_t none;
        ::sigemptyset(&none);
        timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
        ::ppoll(nullptr, 0, timeout_ms < 0 ? nullptr : &limit, &none);
    }

    void reap() {
        int status = 0;
        for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0;
             pid = ::waitpid(-1, &status, WNOHANG))
            for (Service& service : services_)
                if (service.pid == pid)
                    note_end(service, status);
    }

    static void note_end(Service& service, int status) {
        service.pid = -1;
        const std::uint64_t now = monotonic_ns();
        const bool was_quick = now - service.started_ns < quick_death_ns;
        service.start_again_ns = was_quick ? now + second_ns : now;
        if (service.is_shell && WIFEXITED(status))
            return;
        log("{} ended ({} {}); starting it again{}", service.name,
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), hint(service));
    }

    std::vector<Service> services_;
};

/// True when the device holds an ext2 family file system with this label.
bool has_label(const std::string& device, std::string_view label) {
    constexpr off_t superblock = 1024;
    constexpr std::size_t magic_offset = 56;
    constexpr std::size_t label_offset = 120;
    constexpr std::size_t label_size = 16;
    char block[256];
    const Fd fd{::open(device.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd || ::pread(fd.get(), block, sizeof block, superblock) != ssize_t{sizeof block})
        return false;
    std::string_view found{block + label_offset, label_size};
    found = found.substr(0, found.find('\0'));
    return block[magic_offset] == '\x53' && block[magic_offset + 1] == '\xef' && found == label;
}

/// Every disk and partition, sorted by name.
std::vector<std::string> block_devices() {
    std::vector<std::string> devices;
    if (DIR* directory = ::opendir("/dev")) {
        while (const dirent* entry = ::readdir(directory)) {
            const std::string_view name = entry->d_name;
            if (name.starts_with("vd") || name.starts_with("sd") || name.starts_with("nvme"))
                devices.push_back("/dev/" + std::string{name});
        }
        ::closedir(directory);
    }
    std::ranges::sort(devices);
    return devices;
}

/// Mounts the first disk or partition with the label on the directory, if there is one.
void mount_label(const std::vector<std::string>& devices, std::string_view label,
                 const char* directory) {
    const auto found = std::ranges::find_if(
        devices, [&](const std::string& device) { return has_label(device, label); });
    if (found == devices.end())
        return;
    if (::mount(found->c_str(), directory, "ext2", 0, "") == 0)
        log("{} is mounted on {}", *found, directory);
    else
        log("{}: cannot mount it on {}: {}", *found, directory, errno_text(errno));
}

struct LabelledMount {
    const char* label;
    const char* directory;
};
constexpr LabelledMount labelled_mounts[] = {
    {"data", toolstack::data_directory},
    {"guests", toolstack::guests_directory},
};

/// Starts the configurations in the autostart directory, in the order of their names.
void start_domains() {
    std::vector<std::string> files;
    if (DIR* directory = ::opendir(toolstack::autostart_directory)) {
        while (const dirent* entry = ::readdir(directory)) {
            const std::string name = entry->d_name;
            if (name.ends_with(".cfg"))
                files.push_back(std::string{toolstack::autostart_directory} + "/" + name);
        }
        ::closedir(directory);
    }
    std::ranges::sort(files);
    for (const std::string& file : files)
        (void)run({"/usr/sbin/cero", "create", "-q", file});
}

[[noreturn]] void stop_machine(Supervisor& supervisor, int command) {
    log("stopping");
    if (exists("/usr/sbin/cero"))
        (void)run({"/usr/sbin/cero", "shutdown", "-a", "-w", "--timeout", "10"});
    supervisor.stop_all();
    ::sync();
    for (const LabelledMount& mount : labelled_mounts)
        ::umount2(mount.directory, MNT_DETACH);
    ::sync();
    ::reboot(command);
    for (;;)
        ::pause();
}

bool is_control_domain() {
    return exists("/dev/xen/privcmd") && exists("/dev/xen/xenbus_backend");
}

} // namespace

int init_main(int, char**) {
    set_log_name("init");
    sigset_t handled;
    ::sigemptyset(&handled);
    for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD}) {
        ::signal(number, note_signal);
        ::sigaddset(&handled, number);
    }
    ::signal(SIGINT, SIG_IGN);
    ::setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    ::setenv("HOME", "/root", 1);
    ::setenv("TERM", "vt100", 0);
    mount_all();
    if (exists("/etc/cero/early"))
        (void)run({"/bin/sh", "/etc/cero/early"}); // what another kernel needs before the services
    const std::vector<std::string> devices = block_devices();
    for (const LabelledMount& mount : labelled_mounts)
        mount_label(devices, mount.label, mount.directory);
    ::sigprocmask(SIG_BLOCK, &handled, nullptr);
    Supervisor supervisor;
    if (is_control_domain()) {
        const auto add = [&](const std::string& name, const std::string& ready) {
            supervisor.add(
                {name, {"/usr/sbin/" + name}, false, ready, toolstack::service_log(name)});
        };
        add("cero-store", "/run/xenstored/socket");
        add("cero-consoled", toolstack::console_socket);
        add("cero-domaind", "");
    } else {
        log("this is not a control domain: no Xen services are started");
    }
    if (exists("/etc/cero/network"))
        (void)run({"/bin/sh", "/etc/cero/network"});
    if (is_control_domain())
        start_domains();
    supervisor.add({"shell", {"/bin/sh", "-l"}, true, ""});
    stop_machine(supervisor, supervisor.run_for_ever());
}

} // namespace cero::init
