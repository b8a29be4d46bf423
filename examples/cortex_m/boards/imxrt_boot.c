/* What the boot ROM of an i.MX RT reads from the flash (chapter "System Boot" of the reference manual).
 *
 * flash_config is a placeholder, because it depends on the flash chip: with it the program runs in QEMU, but
 * does not boot on a board. MCUXpresso has a file for each board, such as
 * evkbimxrt1050_flexspi_nor_config.c; link that file instead, and place its section .boot_hdr.conf where
 * the linker script has .flash_config. */
#include <stdint.h>

#ifndef FLASH_BEGIN
#define FLASH_BEGIN 0x60000000u
#endif

enum { IMAGE_BYTES = 4 << 20 };

extern const void *const vectors[16];

typedef struct {
    uint32_t begin, bytes, is_plugin, reserved;
} boot_data;

typedef struct {
    uint32_t header;     /* tag 0xD1, length 32, version 0x40 */
    const void *entry;   /* the vector table */
    uint32_t reserved1;
    const void *device_configuration;
    const boot_data *data;
    const void *self;
    const void *signature;
    uint32_t reserved2;
    boot_data area;
} image_vector_table;

extern const image_vector_table boot_table;

__attribute__((section(".flash_config"), used)) const uint32_t flash_config[128] = {
    0x42464346, /* "FCFB" */
};

__attribute__((section(".boot_table"), used)) const image_vector_table boot_table = {
    0x402000D1, vectors, 0, 0, &boot_table.area, &boot_table, 0, 0, { FLASH_BEGIN, IMAGE_BYTES, 0, 0 },
};
