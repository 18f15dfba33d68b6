// SPDX-License-Identifier: BSD-2-Clause
// Entry of the multi-call binary: the name that it is called by chooses the program.
#include "base/error.hpp"
#include "base/log.hpp"
#include "cli/command.hpp"
#include "console/service.hpp"
#include "domaind/domain_daemon.hpp"
#include "init/init.hpp"
#include "store/server.hpp"

#include <string_view>

namespace {

using ProgramMain = int (*)(int, char**);

struct Program {
    std::string_view name;
    ProgramMain main;
};

constexpr Program programs[] = {
    {"cero", cero::cli::command_main},
    {"cero-store", cero::store::server_main},
    {"cero-consoled", cero::console::service_main},
    {"cero-domaind", cero::domaind::daemon_main},
    {"init", cero::init::init_main},
};

ProgramMain find_program(std::string_view name) {
    const std::size_t slash = name.rfind('/');
    if (slash != std::string_view::npos)
        name.remove_prefix(slash + 1);
    for (const Program& program : programs)
        if (program.name == name)
            return program.main;
    return nullptr;
}

} // namespace

int main(int argc, char** argv) {
    try {
        ProgramMain program = argc > 0 ? find_program(argv[0]) : nullptr;
        if (program == nullptr && argc > 1) { // "cero-dom0 cero-store ..." needs no link
            program = find_program(argv[1]);
            if (program != nullptr) {
                ++argv;
                --argc;
            }
        }
        if (program == nullptr)
            throw cero::Error{cero::ExitCode::usage, "unknown program name"};
        return program(argc, argv);
    } catch (const cero::Error& error) {
        cero::log_line(error.what());
        if (!error.remedy().empty())
            cero::log_line(error.remedy());
        return static_cast<int>(error.code());
    } catch (const std::exception& error) {
        cero::log_line(error.what());
        return static_cast<int>(cero::ExitCode::failed);
    }
}
