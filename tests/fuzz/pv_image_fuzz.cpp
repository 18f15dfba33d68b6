// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as the control domain's kernel. Whatever is accepted must lie inside the
// file.
#include "../unit/hypervisor/elf_builder.hpp"

#include <core/boot/pv_image.hpp>
#include <fuzz/target.hpp>

#include <cstdlib>

cero::fuzz::Seed cero::fuzz::make_seed() {
    const test::Bytes image = test::linux_like().build();
    constexpr std::size_t headers_and_notes = 600;
    return {
        {reinterpret_cast<const char*>(image.data()), image.size()}, headers_and_notes, 100'000};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const char* problem = nullptr;
    const auto image =
        cero::parse_pv_image({reinterpret_cast<const std::byte*>(data), size}, problem);
    if (!image) {
        if (problem == nullptr)
            std::abort(); // a refusal names its reason
        return 0;
    }
    for (unsigned n = 0; n < image->segment_count; ++n) {
        const auto& segment = image->segments[n];
        if (segment.file_offset + segment.file_bytes > size ||
            segment.file_bytes > segment.memory_bytes || segment.address < image->virt_base ||
            segment.address + segment.memory_bytes > image->end)
            std::abort();
    }
    auto layout = cero::lay_out(*image, 1u << 18, size);
    if (layout && (layout->needed > 1u << 18 || layout->stack >= layout->mapped))
        std::abort();
    return 0;
}
