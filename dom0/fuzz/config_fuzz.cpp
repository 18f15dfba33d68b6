// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any text as a configuration. What is accepted must survive being saved and read
// again.
#include "config/domain_config.hpp"
#include "fuzz/target.hpp"

#include <cstdlib>

namespace cero::fuzz {

Seed make_seed() {
    return {R"(name = "g"; kernel = '/k' # text
memory = 0x40
disk = [ "phy:/dev/vda1,xvda,w", 'format=raw,vdev=xvdb,access=r,target=/x' ]
vif = [ "mac=00:16:3e:00:00:01,bridge=xenbr0", "" ]
cpus = "0-3,^1" ; vcpus = 2
on_crash = "preserve"
extra += "a\x41\n"
)"};
}

} // namespace cero::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cero::config;
    try {
        const std::string text{reinterpret_cast<const char*>(data), size};
        const std::string saved = to_text(interpret(parse(text, "fuzz"), "fuzz"));
        if (to_text(interpret(parse(saved, "saved"), "saved")) != saved)
            std::abort();
    } catch (const ConfigError& error) {
        if (std::string_view{error.what()}.find(':') == std::string_view::npos)
            std::abort();
    }
    return 0;
}
