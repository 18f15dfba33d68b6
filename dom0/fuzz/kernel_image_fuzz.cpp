// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as a guest's kernel. Whatever is accepted lies inside the file and fits.
#include "base/error.hpp"
#include "builder/layout.hpp"
#include "fuzz/target.hpp"
#include "tests/test_kernel.hpp"

#include <cstdlib>

namespace cero::fuzz {

Seed make_seed() {
    test::KernelRecipe recipe;
    recipe.text_size = 300;
    recipe.entry_offset = 8;
    recipe.has_hypercall_page = false;
    return {recipe.build()};
}

} // namespace cero::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cero::builder;
    constexpr std::uint64_t pages = 65536;
    try {
        auto source =
            unwrap_kernel(std::make_unique<MemorySource>(std::vector(data, data + size)), "fuzz");
        const KernelImage image = parse_kernel(*source, "fuzz");
        for (const Segment& segment : image.segments)
            if (segment.file_offset + segment.file_size > source->size() ||
                segment.file_size > segment.memory_size || segment.physical < image.start ||
                segment.physical + segment.memory_size > image.end)
                std::abort();
        const Layout layout = plan_layout(image, pages, 4096, "fuzz");
        if (layout.stack >= layout.mapped_pages || layout.mapped_pages > pages)
            std::abort();
    } catch (const cero::Error& error) {
        if (std::string_view{error.what()}.empty())
            std::abort();
    }
    return 0;
}
