// SPDX-License-Identifier: BSD-2-Clause
// The benchmark program, static: the guest's init, and in dom0 the other end of the network and a
// clock.
//
//   as init      loads /modules/*.ko, measures what bench= on the kernel's command line names,
//   prints, powers off serve        answers net_rows ticks        prints the TSC: the same counter
//   in every domain nothing      ends at once: what fork_exec starts
#include "harness.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace bench {

namespace {

struct Figure {
    std::string name;
    std::uint64_t value;
    unsigned ticks_called;
};
std::vector<Figure> figures;
bool is_init;

[[noreturn]] void power_off() {
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

void load_modules() {
    std::vector<std::string> names;
    DIR* const directory = opendir("/modules");
    if (directory == nullptr)
        return;
    while (const dirent* entry = readdir(directory))
        if (entry->d_name[0] != '.')
            names.emplace_back(entry->d_name);
    closedir(directory);
    std::sort(names.begin(), names.end()); // their numbers are the order of dependence
    for (const std::string& name : names) {
        const int file = open(("/modules/" + name).c_str(), O_RDONLY | O_CLOEXEC);
        const char* const options =
            name.find("brd") != std::string::npos ? "rd_nr=1 rd_size=32768" : "";
        syscall(SYS_finit_module, file, options, 0); // one for another machine's devices may refuse
        close(file);
    }
}

bool wait_for(const char* path) {
    struct stat unused;
    for (int attempt = 0; attempt < 100; ++attempt) {
        if (stat(path, &unused) == 0)
            return true;
        usleep(100000);
    }
    return false;
}

void set_address(const char* interface, const char* address) {
    const int handle = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq request{};
    std::strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
    sockaddr_in value{};
    value.sin_family = AF_INET;
    inet_pton(AF_INET, address, &value.sin_addr);
    std::memcpy(&request.ifr_addr, &value, sizeof value);
    if (ioctl(handle, SIOCSIFADDR, &request) != 0)
        fail(interface);
    inet_pton(AF_INET, "255.255.255.0", &value.sin_addr);
    std::memcpy(&request.ifr_netmask, &value, sizeof value);
    ioctl(handle, SIOCSIFNETMASK, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(handle, SIOCSIFFLAGS, &request) != 0)
        fail(interface);
    close(handle);
}

/// The kernel's symbols: its package has none.
void print_symbols() {
    mount("proc", "/proc", "proc", 0, nullptr);
    std::FILE* const file = std::fopen("/proc/kallsyms", "r");
    if (file == nullptr)
        fail("/proc/kallsyms");
    char line[512];
    while (std::fgets(line, sizeof line, file) != nullptr)
        if (std::strchr("tTwW", line[17]) != nullptr && std::strchr(line, '[') == nullptr)
            std::fputs(line, stdout);
    std::fclose(file);
}

/// One group of rows; bench= joins their names by plus signs.
void run_group(const std::string& group) {
    if (group == "cpu") {
        cpu_rows("/init");
    } else if (group == "ram") {
        if (!wait_for("/dev/ram0"))
            fail("/dev/ram0");
        block_rows("/dev/ram0", "ram");
    } else if (group == "block") {
        if (!wait_for("/dev/xvda"))
            fail("/dev/xvda");
        block_rows("/dev/xvda", "block");
    } else if (group == "virtio") {
        if (!wait_for("/dev/vda"))
            fail("/dev/vda");
        block_rows("/dev/vda", "virtio");
    } else if (group == "loop") {
        set_address("lo", "127.0.0.1");
        if (fork() == 0)
            serve();
        net_rows("127.0.0.1", "loop");
    } else if (group == "symbols") {
        print_symbols();
    } else if (group == "net") {
        if (!wait_for("/sys/class/net/eth0"))
            fail("eth0");
        set_address("eth0", "10.9.0.2");
        net_rows("10.9.0.1", "net");
    }
}

[[noreturn]] void init(std::uint64_t started) {
    is_init = true;
    __asm__ volatile("nopl 0xCE1235(%%rax)"
                     :
                     :
                     : "memory"); // for the plugin: dom0 may have called ticks(), too
    record("init", started);
    mount("dev", "/dev", "devtmpfs", 0, nullptr);
    mount("sys", "/sys", "sysfs", 0, nullptr);
    for (int handle = open("/dev/console", O_RDWR); handle >= 0 && handle < 2;)
        handle = dup(handle);
    load_modules();
    const char* const wanted = getenv("bench");
    std::string rest = wanted == nullptr ? "cpu" : wanted;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('+'), rest.size());
        run_group(rest.substr(0, end));
        rest.erase(0, end + 1);
    }
    print_all();
    power_off();
}

} // namespace

void record(const char* name, std::uint64_t value) {
    figures.push_back({name, value, ticks_called});
}

void print_all() {
    for (const Figure& figure : figures)
        std::printf("bench %s %lu (%u)\n", figure.name.c_str(),
                    static_cast<unsigned long>(figure.value), figure.ticks_called);
    std::printf("bench end\n");
    std::fflush(stdout);
}

void fail(const char* what) {
    std::printf("bench failed: %s\n", what);
    std::fflush(stdout);
    if (is_init)
        power_off();
    std::_Exit(1);
}

} // namespace bench

int main(int count, char** words) {
    const std::string verb = count > 1 ? words[1] : "";
    if (verb == "nothing")
        return 0;
    if (verb == "serve")
        bench::serve();
    if (verb == "prompt") {
        __asm__ volatile("nopl 0xCE1236(%%rax)" : : : "memory");
        return 0;
    }
    const std::uint64_t started = bench::ticks();
    if (verb == "ticks") {
        std::printf("%lu\n", static_cast<unsigned long>(started));
        return 0;
    }
    if (getpid() == 1)
        bench::init(started);
    std::fprintf(stderr, "usage: %s serve|ticks|prompt|nothing, or as init\n", words[0]);
    return 2;
}
